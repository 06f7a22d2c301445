"""A command of an experiment: its own words are enough where it fails, without a traceback of the script."""
import subprocess


def call(command, **more):
    """Standard output, if `more` asks subprocess.run for it; the script ends where the command cannot be run or fails."""
    try:
        done = subprocess.run(command, **more)
    except OSError as error:
        raise SystemExit("%s cannot be run: %s; name the program by --cafx" % (command[0], error.strerror))
    if done.returncode:
        raise SystemExit("%s ended with status %d" % (" ".join(command[:4]), done.returncode))
    return done.stdout
