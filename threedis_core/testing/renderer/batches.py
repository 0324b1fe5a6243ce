"""Checks that a picture is the same alone, in a batch, and after others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from threedis_core.plugin.interfaces import RenderRequest
from threedis_core.testing.renderer.scenes import (
    NEGATIVE,
    OTHER_PROMPT,
    OTHERS,
    PROMPTS,
    masked,
    planes,
    turned,
)
from threedis_core.testing.renderer.suite import (
    Pixels,
    RendererSuite,
    distance,
    picture,
    pictures,
)


class BatchChecks(RendererSuite):
    """No picture depends on another one."""

    def test_a_picture_of_a_batch_is_the_one_it_gives_alone(self) -> None:
        width, height = self.capabilities().default_size
        wider = (width + 8 * self.capabilities().size_multiple, height)
        requests = [
            self.request(instances=1, seed=1),
            self.request(instances=3, seed=2),
            self.request(instances=0, seed=3),
        ]
        if self.draws(wider):
            requests.append(self.request(instances=2, seed=4, size=wider))
        self._check_batch(requests)

    def test_a_batch_keeps_requests_of_as_many_instances_apart(self) -> None:
        self._check_batch(self._twins())

    def test_a_batch_keeps_requests_of_more_and_fewer_instances_apart(self) -> None:
        one, other = self._twins()
        fewer = self.scene(prompts=PROMPTS[2:][: self.instances(1)])
        self._check_batch([fewer, one, self.scene(prompts=()), other])

    def test_a_picture_is_the_same_whatever_was_rendered_before(self) -> None:
        """A backend that has drawn others draws what a new one draws."""
        kept = self.make_backend()
        picture(kept, self.scene(prompts=PROMPTS[: self.instances(2)]))
        for what, request in self._others().items():
            difference = distance(picture(kept, request), picture(self.make_backend(), request))
            assert difference <= self.tolerance, (
                f"a request with {what} differs by {difference}/255 after other requests; what "
                "is kept from one to the next?"
            )

    def _twins(self) -> list[RenderRequest]:
        """Two requests of as many instances that share what a batch shares, and nothing else."""
        count, size = self.instances(4), self.capabilities().default_size
        other = self.scene(
            prompts=OTHERS[:count],
            places=(3, 0, 1, 2)[:count],
            prompt=OTHER_PROMPT,
            negative_prompt=NEGATIVE if self.capabilities().negative_prompt else "",
            depth=turned(planes(*size)),
            seed=1,
        )
        return [self.scene(), other]

    def _others(self) -> dict[str, RenderRequest]:
        """A request with two instances, each time with something else changed.

        Whatever is kept by one thing (the size, how many instances) is used where another differs.
        """
        able, count = self.capabilities(), self.instances(2)
        width, height = able.default_size
        wider = (width + 2 * able.size_multiple, height)
        changes: dict[str, dict[str, Any]] = {
            "other prompts": {"prompts": OTHERS[:count]},
            "other places": {"places": (3, 0)[:count]},
            "another depth map": {"depth": turned(planes(width, height))},
            "another prompt and seed": {"prompt": OTHER_PROMPT, "seed": 7},
            "fewer instances": {"prompts": PROMPTS[: self.instances(1)]},
        }
        if able.negative_prompt:
            changes["other places"]["negative_prompt"] = NEGATIVE
        if able.steps:
            changes["other prompts"]["steps"] = able.default_steps + 1
        if able.guidance and able.default_guidance is not None:
            changes["another depth map"]["guidance"] = able.default_guidance + 3.0
        if able.controls:
            changes["a control that ends early"] = {"control": self.all_on(0, 1)}
        if able.masks:
            changes["masks"] = {"regions": masked((width, height), range(count)[::-1])}
        if self.draws(wider):
            changes["fewer instances"]["size"] = wider
        base = {"prompts": PROMPTS[:count]}
        return {what: self.scene(**{**base, **one}) for what, one in changes.items()}

    def _check_batch(self, requests: Sequence[RenderRequest]) -> None:
        backend = self.make_backend()
        alone = [picture(backend, request) for request in requests]
        self._check_telling(alone)
        together = pictures(self.make_backend(), requests)
        for index, (one, other) in enumerate(zip(alone, together, strict=True)):
            assert distance(one, other) <= self.tolerance, (
                f"picture {index} differs by {distance(one, other)}/255 from the one it gives alone"
            )

    def _check_telling(self, drawn: Sequence[Pixels]) -> None:
        """Fail where pictures are so alike that it would not be seen if they were mixed up."""
        for one, other in combinations(drawn, 2):
            alike = one.shape == other.shape and distance(one, other) <= self.tolerance
            assert not (alike and self.capabilities().controls), (
                "two requests give nearly the same picture, so that a batch that mixes them would "
                "pass; use a model that heeds its texts"
            )
