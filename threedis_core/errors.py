"""Every error ThreeDIS raises on purpose.

    ThreeDISError
    ├── InputError (also a ValueError)   what a person wrote is wrong; the CLI exits with 2
    │   ├── LayoutError                  a layout file or value
    │   ├── DepthError                   a depth map or its file
    │   ├── DataError                    the examples of a training or a measurement
    │   ├── OptionError                  an option of a backend, a run or the command line
    │   └── UnknownPluginError           a name that nothing is registered under
    ├── PluginError                      a plugin could not be loaded or registered
    ├── WeightsError                     model weights are missing, unreadable or of the wrong kind
    ├── RenderError                      a backend failed while it was working
    ├── Cancelled                        somebody asked the work to stop
    └── DeadlineExceeded                 the work was not done in the time it was given

A message says what is wrong, what was found, what is expected and what to do, in one line.
"""

from __future__ import annotations


class ThreeDISError(Exception):
    """Base of every error raised on purpose."""


class InputError(ThreeDISError, ValueError):
    """What a person wrote is wrong: a file, a value, a name."""


class LayoutError(InputError):
    """A layout file or value is wrong."""


class DepthError(InputError):
    """A depth map or its file is wrong."""


class DataError(InputError):
    """The examples of a training or a measurement cannot be used."""


class OptionError(InputError):
    """An option of a backend, a run or the command line is wrong."""


class UnknownPluginError(InputError):
    """A name that no renderer, depth model or estimator, refiner or preset is registered under."""


class PluginError(ThreeDISError):
    """A plugin could not be loaded or registered."""


class WeightsError(ThreeDISError):
    """Model weights are missing, unreadable or of the wrong kind."""


class RenderError(ThreeDISError):
    """A backend failed while it was working."""


class Cancelled(ThreeDISError):  # noqa: N818  it is no error of anybody
    """Somebody asked the work to stop, and it did."""


class DeadlineExceeded(ThreeDISError):  # noqa: N818  the usual word
    """The work was not done in the time it was given, and stopped."""
