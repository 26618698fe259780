//! The capabilities of a process that starts another program: a new program of root gets every
//! capability back that is in root's bounding set, also those that root has put away.

use std::io;

use crate::proc_status::ProcStatus;

/// The sets of a thread; bit n is capability n.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Capabilities {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
}

/// `struct __user_cap_header_struct` of `linux/capability.h`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`: half of each set.
#[repr(C)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `_LINUX_CAPABILITY_VERSION_3`: two halves.
const VERSION: u32 = 0x2008_0522;

impl Capabilities {
    /// All: nothing is known, and nothing to be put away.
    const ALL: Self = Self { effective: !0, permitted: !0, inheritable: !0 };

    pub(crate) fn from_status(status: Option<&ProcStatus>) -> Self {
        status.map_or(Self::ALL, |status| Self {
            effective: status.bits("CapEff"),
            permitted: status.bits("CapPrm"),
            inheritable: status.bits("CapInh"),
        })
    }

    /// Puts away what the calling thread has, `now`, and these sets have not.
    ///
    /// # Errors
    /// If the kernel refuses, which it does not for less.
    pub(crate) fn restrict(self, now: Self) -> io::Result<()> {
        let permitted = now.permitted & self.permitted;
        let effective = now.effective & self.effective & permitted;
        let inheritable = now.inheritable & self.inheritable;
        if (Self { effective, permitted, inheritable }) == now {
            return Ok(());
        }
        let half = |shift: u32| Half {
            effective: (effective >> shift) as u32,
            permitted: (permitted >> shift) as u32,
            inheritable: (inheritable >> shift) as u32,
        };
        let (header, halves) = (Header { version: VERSION, pid: 0 }, [half(0), half(32)]);
        // SAFETY: version 3 reads a header and two halves; both live during the call.
        match unsafe { libc::syscall(libc::SYS_capset, &header, halves.as_ptr()) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_away_is_gone_and_the_rest_stays() {
        let read = || Capabilities::from_status(ProcStatus::of_this_thread().unwrap().as_ref());
        // In a thread of its own: capabilities are a thread's.
        let (before, after) = std::thread::spawn(move || {
            let before = read();
            let wanted = Capabilities { effective: before.effective & !0b110, ..before };
            wanted.restrict(before).unwrap();
            (before, read())
        })
        .join()
        .unwrap();
        assert_eq!(after.effective, before.effective & !0b110);
        assert_eq!(after.permitted, before.permitted);
    }
}
