"""The errors that a user can cause or meet. Only the command line turns them into text and an exit code."""

INTERRUPTED = 130
"""The exit code after Ctrl-C: 128 + SIGINT, as shells have it. Another signal gives its own in the end."""


class MnfpnError(Exception):
    """Something could not be done, for a reason the user can read: no such device, out of memory."""

    exit_code = 1
    details = ""
    """What is printed below the message, as it is: a traceback of the user's own code."""


class UnavailableError(MnfpnError):
    """It cannot run on this machine: what it needs is not installed, or not possible on the device."""


class NothingMeasuredError(MnfpnError):
    """Ctrl-C, or another signal that asks to end, came before there was anything to keep."""

    exit_code = INTERRUPTED


class UsageError(MnfpnError):
    """What the user said is wrong: the message gives the place, the rule and the value, one problem a line."""

    exit_code = 2


class CheckError(MnfpnError):
    """A check that the user asked for did not hold."""

    exit_code = 3
