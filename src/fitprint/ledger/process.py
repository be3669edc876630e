"""What was moved to ``fitprint.process``, under its former name."""

from fitprint.process import Process as Process
from fitprint.process import boot_id as boot_id
from fitprint.process import is_alive as is_alive
from fitprint.process import this_process as this_process
