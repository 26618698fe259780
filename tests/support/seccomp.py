"""A filter that refuses system calls, as those of old container runtimes do.

`REFUSE` is source for the first lines of a test program: `refuse(names, errno)` puts the filter
around the calling process and all that it starts from then on.
"""

REFUSE = '''
import ctypes, platform, struct

NUMBERS = {
    "pidfd_send_signal": 424,
    "pidfd_open": 434,
    "clone3": 435,
    "close_range": 436,
    "memfd_create": {"x86_64": 319, "aarch64": 279}[platform.machine()],
    "open": {"x86_64": 2, "aarch64": 56}[platform.machine()],
    "openat": {"x86_64": 257, "aarch64": 56}[platform.machine()],
    "fallocate": {"x86_64": 285, "aarch64": 47}[platform.machine()],
    "madvise": {"x86_64": 28, "aarch64": 233}[platform.machine()],
}


def refuse(names, error):
    """From now on the system calls `names` fail with `error`."""
    numbers = [NUMBERS[name] for name in names]
    load_number, allow = (0x20, 0, 0, 0), (0x06, 0, 0, 0x7FFF0000)
    jumps = [(0x15, len(numbers) - i, 0, number) for i, number in enumerate(numbers)]
    steps = [load_number, *jumps, allow, (0x06, 0, 0, 0x00050000 | error)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))

    class Program(ctypes.Structure):
        _fields_ = [("n_steps", ctypes.c_ushort), ("steps", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privs, seccomp, filter_mode = 38, 22, 2
    assert libc.prctl(no_new_privs, 1, 0, 0, 0) == 0
    program = Program(len(steps), ctypes.addressof(code))
    assert libc.prctl(seccomp, filter_mode, ctypes.byref(program)) == 0, ctypes.get_errno()
'''
