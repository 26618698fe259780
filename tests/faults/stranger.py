"""What another user of the machine gets of a family's processes: a program that tries.

``python stranger.py UID PID ...`` gives up its rights for those of user UID, tries at each process,
prints what it got as JSON, and ends when its standard input does. User 0 keeps the rights it has:
for the test of the test.
"""

import ctypes
import json
import os
import re
import select
import socket
import sys

_PIDFD_GETFD = 438
_PTRACE_SEIZE, _PTRACE_DETACH = 0x4206, 17
_LIBC = ctypes.CDLL(None, use_errno=True)


def become(uid):
    """Have the rights of the user, and no others."""
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)


def _entries(folder):
    try:
        return [f"{folder}/{name}" for name in os.listdir(folder)]
    except OSError:
        return []


def openable(pid):
    """Files of the process that can be opened: descriptors, mappings, its memory."""
    places = [*_entries(f"/proc/{pid}/fd"), *_entries(f"/proc/{pid}/map_files")]
    # Descriptors that one cannot list may be guessed.
    places += [f"/proc/{pid}/fd/{fd}" for fd in range(256)]
    places += [f"/proc/{pid}/{name}" for name in ("mem", "environ", "maps", "root/", "cwd/")]
    found = []
    for place in dict.fromkeys(places):
        try:
            os.close(os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            # Being opened is all right for a place whose content is refused.
            found.append(place)
        except OSError:
            continue
    return found


def taken_descriptors(pid):
    """Descriptors that the kernel copies to us from the process."""
    try:
        process = os.pidfd_open(pid)
    except OSError:
        return []
    try:
        got = [_LIBC.syscall(_PIDFD_GETFD, process, fd, 0) for fd in range(64)]
        for fd in got:
            if fd >= 0:
                os.close(fd)
        return [fd for fd in got if fd >= 0]
    finally:
        os.close(process)


def may_signal(pid):
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def may_trace(pid):
    # Not stopped by being seized; released when we let go.
    if _LIBC.ptrace(_PTRACE_SEIZE, pid, None, None) != 0:
        return False
    _LIBC.ptrace(_PTRACE_DETACH, pid, None, None)
    return True


def brokers():
    """Names in the abstract namespace by which processes of a family may be asked."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as table:
        return sorted(set(re.findall(r"@(manyhands-\S+)", table.read())))


def question_at(broker):
    """A socket that has asked there."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind("")
    made.connect("\0" + broker)
    made.send(b"x" * 24)
    return made


def is_answered(asked, timeout_s):
    return bool(select.select([asked], [], [], timeout_s)[0])


def main():
    uid, *pids = map(int, sys.argv[1:])
    become(uid)
    asked = [question_at(broker) for broker in brokers()]
    got = {
        "openable": [place for pid in pids for place in openable(pid)],
        "taken": [fd for pid in pids for fd in taken_descriptors(pid)],
        "signalled": [pid for pid in pids if may_signal(pid)],
        "traced": [pid for pid in pids if may_trace(pid)],
    }
    print(json.dumps(got), flush=True)
    sys.stdin.read()
    print(json.dumps([is_answered(each, 0) for each in asked]), flush=True)


if __name__ == "__main__":
    main()
