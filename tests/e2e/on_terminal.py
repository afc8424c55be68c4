"""Makes standard input the controlling terminal of this session and becomes `jsr`."""

import fcntl
import os
import sys
import termios

if __name__ == "__main__":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    os.execv(sys.executable, [sys.executable, "-m", "jobset_restart", *sys.argv[1:]])
