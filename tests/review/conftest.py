"""The same small curated set as the teacher's tests have."""

from tests.teacher.conftest import curated as curated
