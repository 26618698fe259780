//! Waiting and waking: state words over futexes, private or shared between processes.
