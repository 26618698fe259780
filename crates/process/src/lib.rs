//! Child processes: start, supervise by pidfd, template fork, orderly and hard stop.
