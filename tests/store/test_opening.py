"""Opening, upgrading, backing up: the schema is the migrations', files are private, a restore is another log."""

import os
import sqlite3
import stat
import traceback
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from parley.domain import messages, replay, rooms
from parley.store import StoreProblem, backup_database, open_store, renew_epoch, upgrade_database
from parley.store.schema import metadata
from parley.store.versions import MIGRATIONS, NEWEST, OLDEST_BESIDE, VERSIONS
from tests.servers import Databases
from tests.stage import Stage, somebody

ADA = somebody("ada")
WORDS = ("WITHOUT ROWID", "AUTOINCREMENT", "CLIENT_ID IS NOT NULL", "UNIQUE")


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def tell(url: str, statement: str) -> None:
    if url.startswith("sqlite"):
        connection = sqlite3.connect(path_of(url))
        connection.execute(statement)
        connection.commit()
        connection.close()
    else:
        with psycopg.connect(url, autocommit=True) as other:
            other.execute(statement.encode())


class TestMigrations:
    @pytest.mark.filterwarnings("ignore:Did not recognize type 'xid8'")
    def test_the_migrations_make_the_schema(self, store_url: str) -> None:
        engine = create_engine(store_url.replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            differences = compare_metadata(context, metadata)
            primary_keys = {
                name: inspect(connection).get_pk_constraint(name)["constrained_columns"] for name in metadata.tables
            }
        engine.dispose()
        assert differences == []
        assert primary_keys == {
            name: [column.name for column in table.primary_key.columns] for name, table in metadata.tables.items()
        }

    def test_sqlite_says_the_same_of_the_migrations_as_of_the_schema(self, sqlite_url: str) -> None:
        """What the comparison does not see: WITHOUT ROWID, AUTOINCREMENT, partial indexes."""

        def shape(connection: Any) -> dict[str, Any]:
            told: dict[str, Any] = {}
            for name, sql in connection.execute("SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index')"):
                if "alembic_version" not in name:
                    told[name] = {word for word in WORDS if word in (sql or "").upper()}
            return told

        engine = create_engine("sqlite://")
        with engine.connect() as connection:
            metadata.create_all(connection)
            expected = shape(connection.connection.driver_connection)
        engine.dispose()
        found = sqlite3.connect(path_of(sqlite_url))
        assert shape(found) == expected
        found.close()

    def test_the_program_knows_every_revision_in_its_order(self) -> None:
        script = ScriptDirectory(str(MIGRATIONS))
        assert [revision.revision for revision in script.walk_revisions()] == list(reversed(VERSIONS))
        assert script.get_current_head() == NEWEST
        assert OLDEST_BESIDE in VERSIONS

    def test_upgrading_again_changes_nothing(self, store_url: str) -> None:
        before = Stage(store_url)
        before.do(ADA, rooms.Create(room="hall"))
        before.close()
        upgrade_database(store_url, random_bytes=os.urandom)
        after = Stage(store_url)
        assert after.store.epoch == before.store.epoch
        assert after.types("hall") == ["member.joined"]
        after.close()


class TestVersions:
    def test_a_database_of_a_newer_version_refuses_an_older_program(self, store_url: str) -> None:
        tell(store_url, "UPDATE alembic_version SET version_num = '9999'")
        for attempt in (
            lambda: open_store(store_url, clock_ms=lambda: 0, random_bytes=os.urandom),
            lambda: upgrade_database(store_url, random_bytes=os.urandom),
        ):
            with pytest.raises(StoreProblem, match=r"newer Parley .*9999.*start that version") as problem:
                attempt()
            assert "\n" not in str(problem.value)

    def test_a_newer_version_that_the_program_can_live_with_is_served_started_on_and_left_as_it_is(
        self, store_url: str
    ) -> None:
        note = "UPDATE meta SET value = '{}' WHERE key = 'lives_with'"
        before = Stage(store_url)
        before.do(ADA, rooms.Create(room="hall"))
        try:
            tell(store_url, "ALTER TABLE messages ADD COLUMN mood TEXT")
            tell(store_url, "UPDATE alembic_version SET version_num = '0002'")
            tell(store_url, note.format(f"0002 {NEWEST}"))
            before.do(ADA, messages.Send(room="hall", text="by a node that was there before"))
            before.close()
            after = Stage(store_url)
            after.do(ADA, messages.Send(room="hall", text="by one that was started again"))
            assert after.types("hall") == ["member.joined", "message.created", "message.created"]
            after.close()
            upgrade_database(store_url, random_bytes=os.urandom)
            tell(store_url, note.format("0002 0002"))
            with pytest.raises(StoreProblem, match=r"its schema is 0002"):  # which also says that it was left alone
                Stage(store_url)
        finally:
            tell(store_url, "ALTER TABLE messages DROP COLUMN mood")
            tell(store_url, note.format(f"{NEWEST} {OLDEST_BESIDE}"))

    def test_postgresql_is_upgraded_by_the_command_alone(self, databases: Databases) -> None:
        url = databases.empty()
        with pytest.raises(StoreProblem, match="run `parley db upgrade` first"):
            open_store(url, clock_ms=lambda: 0, random_bytes=os.urandom)
        upgrade_database(url, random_bytes=os.urandom)
        Stage(url).close()
        databases.drop(url)

    def test_a_server_that_is_not_there_is_one_line_without_the_password(self) -> None:
        url = "postgresql://parley:hunter2@127.0.0.1:1/parley"
        with pytest.raises(StoreProblem) as problem:
            open_store(url, clock_ms=lambda: 0, random_bytes=os.urandom)
        assert str(problem.value).startswith("PostgreSQL cannot be reached: ")
        assert "hunter2" not in str(problem.value)
        assert "\n" not in str(problem.value)

    def test_a_url_that_libpq_does_not_take_is_refused_without_being_quoted(self) -> None:
        password = "".join(reversed("2retnuh"))
        with pytest.raises(StoreProblem) as problem:
            open_store(f"postgresql://parley:{password}%zz@host/x", clock_ms=lambda: 0, random_bytes=os.urandom)
        assert "PARLEY_DATABASE_URL" in str(problem.value)
        assert password not in "".join(traceback.format_exception(problem.value))

    @pytest.mark.parametrize("url", ["", "mysql://x/y", "sqlite://", "sqlite:///", "parley.db"])
    def test_a_url_of_neither_kind_is_one_line_that_names_the_setting(self, url: str) -> None:
        with pytest.raises(StoreProblem, match=r"^PARLEY_DATABASE_URL is neither .*\.$"):
            open_store(url, clock_ms=lambda: 0, random_bytes=os.urandom)

    def test_a_file_that_is_no_database_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "parley.db").write_text("this is no database, and longer than a header would be" * 10)
        with pytest.raises(StoreProblem, match="SQLite cannot open"):
            open_store(f"sqlite:///{tmp_path}/parley.db", clock_ms=lambda: 0, random_bytes=os.urandom)


class TestFiles:
    def test_the_file_and_its_directory_are_private_whatever_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            stage = Stage(f"sqlite:///{tmp_path}/new/deeper/parley.db")
            stage.do(ADA, rooms.Create(room="hall"))
            directory = tmp_path / "new" / "deeper"
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()}
            assert modes == {"parley.db": 0o600, "parley.db-wal": 0o600, "parley.db-shm": 0o600}
            stage.close()
        finally:
            os.umask(before)

    def test_deleted_text_is_gone_from_the_file(self, sqlite_url: str) -> None:
        stage = Stage(sqlite_url)
        stage.do(ADA, rooms.Create(room="hall"))
        secret = "correct-horse-battery-staple" * 20
        sent = stage.do(ADA, messages.Send("hall", secret))["message"]
        stage.do(ADA, messages.Edit(sent["id"], "short"))
        stage.close()
        connection = sqlite3.connect(path_of(sqlite_url))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        assert b"battery-staple" not in path_of(sqlite_url).read_bytes()


class TestBackup:
    def test_a_backup_onto_the_database_itself_is_refused_and_leaves_it_alone(self, sqlite_url: str) -> None:
        path = Path(sqlite_url.removeprefix("sqlite:///"))
        before = path.stat().st_ino
        with pytest.raises(StoreProblem, match="the database itself"):
            backup_database(sqlite_url, path, random_bytes=os.urandom)
        assert path.stat().st_ino == before

    def test_a_backup_beside_a_running_store_restores_into_a_new_epoch(self, sqlite_url: str, tmp_path: Path) -> None:
        stage = Stage(sqlite_url)
        stage.do(ADA, rooms.Create(room="hall"))
        stage.do(ADA, messages.Send("hall", "kept"))
        copy = tmp_path / "backup.db"
        before = os.umask(0)
        try:
            backup_database(sqlite_url, copy, random_bytes=os.urandom)
        finally:
            os.umask(before)
        assert stat.S_IMODE(copy.stat().st_mode) == 0o600
        assert [file.name for file in tmp_path.iterdir() if "backup" in file.name] == ["backup.db"]
        stage.do(ADA, messages.Send("hall", "not in the backup"))
        restored = Stage(f"sqlite:///{copy}")
        assert restored.store.epoch != stage.store.epoch
        assert len(restored.log("hall")) == 2
        page = restored.do(ADA, replay.EventList("hall", after=3, epoch=stage.store.epoch))
        assert (page["reset"], page["complete"], len(page["events"])) == (True, True, 2)
        restored.do(ADA, messages.Send("hall", "goes on"))
        restored.close()
        stage.close()

    def test_a_second_backup_replaces_the_first_whole(self, sqlite_url: str, tmp_path: Path) -> None:
        stage = Stage(sqlite_url)
        copy = tmp_path / "backup.db"
        epochs = []
        for name in ("one", "two"):
            stage.do(ADA, rooms.Create(room=name))
            backup_database(sqlite_url, copy, random_bytes=os.urandom)
            restored = Stage(f"sqlite:///{copy}")
            epochs.append(restored.store.epoch)
            assert restored.types(name) == ["member.joined"]
            restored.close()
        assert len({*epochs, stage.store.epoch}) == 3
        stage.close()

    def test_where_it_cannot_be_written_it_says_so(self, sqlite_url: str, tmp_path: Path) -> None:
        with pytest.raises(StoreProblem, match="cannot be written"):
            backup_database(sqlite_url, tmp_path / "nowhere" / "backup.db", random_bytes=os.urandom)

    def test_postgresql_has_its_own_and_a_restored_one_gets_a_new_epoch(
        self, postgres_url: str, tmp_path: Path
    ) -> None:
        with pytest.raises(StoreProblem, match="pg_dump"):
            backup_database(postgres_url, tmp_path / "backup", random_bytes=os.urandom)
        before = Stage(postgres_url)
        before.close()
        epoch = renew_epoch(postgres_url, random_bytes=os.urandom)
        after = Stage(postgres_url)
        assert after.store.epoch == epoch != before.store.epoch
        after.close()
