"""The errors of `loras`. Every message is for the person who asked: it says what was wrong and what to do next.

LoraError
├── DatasetError   pictures to learn from that cannot be found or used
├── TrainingError  a run that cannot begin or go on
└── JobError       a job that is unknown, busy, or of another state than the request needs
"""

from pipelines.errors import UserError


class LoraError(UserError):
    """Base of the errors of `loras`."""


class DatasetError(LoraError):
    """The pictures cannot be learned from as they stand."""


class TrainingError(LoraError):
    """The run cannot begin or go on."""


class JobError(LoraError):
    """The job is unknown, or cannot do what was asked."""
