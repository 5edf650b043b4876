"""The errors of `pipelines`. Every message is for the person who asked: it says what was wrong and what to do next.

PipelineError
├── InvalidRequest      a size, prompt, option or file that cannot be used
│   ├── PaletteError    a palette file that is not one
│   ├── TextError       a text file of another encoding, or a JSON file or table with a mistake
│   └── ImageError      a picture that cannot be read
├── ModelError          a model that is unknown, not downloaded, or not of the SDXL family
│   └── AdapterError    a LoRA that is unknown or of a form that cannot be merged
├── OutOfMemory         the device has no room, even for half the batch
└── Cancelled           the caller gave up; nothing was kept
"""


class PipelineError(Exception):
    """Base of all errors that a user may see from this package."""


class InvalidRequest(PipelineError):
    """The request cannot be served as it stands."""


class PaletteError(InvalidRequest):
    """A palette file or list that holds no usable palette."""


class TextError(InvalidRequest):
    """A text file that cannot be decoded, or whose JSON or table has a mistake; it names the file and the line."""


class ImageError(InvalidRequest):
    """A picture that is broken, too large, or of a form that is not supported."""


class ModelError(PipelineError):
    """A model that cannot be found, loaded or used."""


class AdapterError(ModelError):
    """A LoRA file that cannot be found, read or merged."""


class OutOfMemory(PipelineError):
    """The device has no room for the request."""


class Cancelled(PipelineError):
    """The caller cancelled while the work was queued or running."""
