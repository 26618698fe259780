//! What to say when the system, or a filter around the program, refuses a system call.

use std::io;

use rustix::io::Errno;

/// How filters say that they do not know a system call.
pub(crate) fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::PERM | Errno::NOSYS)
}

/// `error`, with a sentence for the person who can change the filter if it is a refusal.
///
/// `what` needs the system call `name` and is the beginning of the sentence.
pub(crate) fn explained(error: io::Error, what: &str, name: &str) -> io::Error {
    let answer = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::PERM) => "EPERM",
        Some(Errno::NOSYS) => "ENOSYS",
        _ => return error,
    };
    let text = format!(
        "{what} needs the system call {name}, which is refused here ({answer}): allow {name} in \
         the seccomp profile of the container or service, or use a newer container runtime"
    );
    io::Error::new(error.kind(), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_call_and_what_to_allow() {
        let error = explained(Errno::PERM.into(), "starting a thread", "clone3");
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        let text = error.to_string();
        assert!(text.starts_with("starting a thread needs the system call clone3"), "{text}");
        assert!(text.contains("EPERM") && text.contains("allow clone3"), "{text}");
    }

    #[test]
    fn other_errors_stay_as_they_are() {
        let error = explained(Errno::MFILE.into(), "starting a thread", "clone3");
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    }
}
