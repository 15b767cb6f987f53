"""Random changes to everything that strangers give whisper_max: recordings, checkpoints, forms, events of a socket.

``python -m scripts.fuzz --seconds 60`` from the project's root. Each case is a valid input with random changes, tried
in a child process with limits on time and memory. It is accepted, or refused by an error of ours in one line. All else
is a fault: another exception, the end of the process, no answer in time, too much memory, lines on stderr. A case is
known by its kind, its seed and a number, and is the same whenever it is made again, but for the serial numbers and
dates that encoders put into some recordings.
"""
