from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlaz_ci.serving.stamp import read_stamp, stamp
from tests import samples


def test_read_stamp__of_what_was_stamped__tells_the_same() -> None:
    model = replace(samples.model(), name="churn", version="3")
    spec = samples.spec(deployment_name="g2", model=model, tags={"team": "risk"}, owner="repo:1")
    tags = stamp(spec, samples.NOON)
    read = read_stamp(tags)
    assert (read.owner, read.spec_hash, read.lock_hash) == ("repo:1", spec.spec_hash, spec.lock.hash)
    assert (read.deployment_name, read.model_label, read.created_at) == ("g2", "churn/3", samples.NOON)
    assert tags["team"] == "risk"
    assert all(len(value) <= 256 for value in tags.values())


@pytest.mark.parametrize("tags", [{}, {"mlaz-owner": "repo:1"}, {"managed-by": "terraform", "mlaz-owner": "repo:1"}])
def test_read_stamp__of_what_is_not_ours__has_no_owner(tags: dict[str, str]) -> None:
    assert read_stamp(tags).owner == ""


@given(st.dictionaries(st.sampled_from(["managed-by", "mlaz-owner", "mlaz-created", "mlaz-model-version"]), st.text()))
def test_read_stamp__any_tags__are_read(tags: dict[str, str]) -> None:
    read_stamp(tags)
