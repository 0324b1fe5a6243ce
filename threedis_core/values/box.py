"""Box: a rectangle in fractions of the picture; and the base of all values of a layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Annotated, Any, cast

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from threedis_core.files.schemas import described
from threedis_core.values.problems import layout_error, shown

Fraction = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
_LIST: JsonSchemaValue = {
    "type": "array",
    "items": {"type": "number", "minimum": 0, "maximum": 1},
    "minItems": 4,
    "maxItems": 4,
    "description": "[x0, y0, x1, y1]: left, top, right, bottom in fractions of the picture.",
}
_FRACTION = "a number from 0 to 1: boxes are [x0, y0, x1, y1] in fractions of the picture's size"


class LayoutValue(BaseModel):
    """Base of the layout's values: frozen, unknown fields refused, errors of one line.

    Raises:
        LayoutError: A field is missing, unknown or wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=described)

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise layout_error(error, type(self), data) from None

    # Tells pydantic that this __init__ adds nothing to validation, so that a nested value is
    # validated in place and the error's path stays whole.
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]


class Box(LayoutValue):
    """An axis-aligned rectangle in fractions of the picture: x to the right, y down.

    Written as a list ``[x0, y0, x1, y1]`` with 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1.
    """

    x0: Fraction = Field(description=_FRACTION)
    y0: Fraction = Field(description=_FRACTION)
    x1: Fraction = Field(description=_FRACTION)
    y1: Fraction = Field(description=_FRACTION)

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, data: Any) -> Any:
        if isinstance(data, Mapping | Box):
            return cast(Any, data)
        if isinstance(data, np.ndarray):
            data = cast(Any, data).tolist()
        if not isinstance(data, list | tuple) or len(cast("Sequence[Any]", data)) != 4:
            raise ValueError(f"got {shown(data)}; expected four numbers [x0, y0, x1, y1]")
        values = [_plain_number(value) for value in cast("Sequence[Any]", data)]
        return dict(zip(("x0", "y0", "x1", "y1"), values, strict=True))

    @model_validator(mode="after")
    def _ordered(self) -> Box:
        for low, high, first in (("x0", "x1", "left"), ("y0", "y1", "top")):
            start, stop = getattr(self, low), getattr(self, high)
            if not start < stop:
                raise ValueError(
                    f"{low} = {start:g} and {high} = {stop:g}; expected {low} < {high} "
                    f"({first} edge first, and some extent)"
                )
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = handler(core_schema)
        if handler.mode == "validation":
            own = handler.resolve_ref_schema(found)
            fields = {"anyOf": [_LIST, dict(own)], "description": own["description"]}
            own.clear()  # it is kept under the model's name: what is said here is said everywhere
            own.update(fields)
        return found

    @model_serializer
    def _to_list(self) -> list[float]:
        return list(self.xyxy)

    @classmethod
    def from_xyxy(cls, xyxy: Sequence[float]) -> Box:
        """Make a box from x0, y0, x1, y1.

        Raises:
            LayoutError: Not four numbers, out of [0, 1], or reversed.
        """
        try:
            return cls.model_validate(tuple(xyxy))
        except ValidationError as error:
            raise layout_error(error, cls, xyxy, "box ") from None

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1)."""
        return (self.x0, self.y0, self.x1, self.y1)

    @property
    def area(self) -> float:
        """Share of the picture that the box covers, in (0, 1]."""
        return (self.x1 - self.x0) * (self.y1 - self.y0)

    def iou(self, other: Box) -> float:
        """Intersection over union with another box, in [0, 1]."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        shared = max(width, 0.0) * max(height, 0.0)
        union = self.area + other.area - shared
        # Two boxes far thinner than a pixel may have areas that round to zero.
        return min(shared / union, 1.0) if union > 0 else float(self == other)


def _plain_number(value: Any) -> Any:
    """Turn numbers of other libraries into floats; leave everything else to the field's check."""
    if isinstance(value, Real) and not isinstance(value, bool | int):
        return float(value)
    return value
