"""Makes standard input the controlling terminal of this session and becomes `jsr`, with no signal ignored: whoever runs
the tests may have had some ignored (nohup)."""

import fcntl
import os
import signal
import sys
import termios

if __name__ == "__main__":
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "jobset_restart", *sys.argv[1:]])
