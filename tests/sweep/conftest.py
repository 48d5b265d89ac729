"""A short lease for the processes that tests start and kill, and a PostgreSQL of one's own."""

import pytest

from tests.sweep.postgresql import Cluster, initdb


@pytest.fixture(autouse=True)
def short_lease(monkeypatch):
    """A worker that was killed between taking a trial and signing it is waited for as long as a lease lasts."""
    monkeypatch.setenv("SPERMJAX_LEASE_SECONDS", "30")


@pytest.fixture(scope="session")
def cluster():
    """A PostgreSQL server; a test that stops it starts it again."""
    program = initdb()
    if program is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    server = Cluster(program)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        server.remove()
