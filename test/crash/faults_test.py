"""What the ledger does when its disk does wrong: full, failing, torn, altered, or taken by another process.

The real program on real files. A write or a sync fails through a shim before the C library (fault_shim.c); the
full disk is a small tmpfs in a mount namespace, and left out, with a line that says so, where the kernel lets
us make none. The numbers in the names are those of the failure matrix (test/crash/crash.py has E1 to E9).
"""
import contextlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "harness"))
import weir  # noqa: E402

KEY = "wr_faults" + "0" * 41
CONFIG = """
listen: 127.0.0.1:{port}
admin:
  listen: 127.0.0.1:0
workers: 1
durability: {durability}
data_dir: {data}
upstreams:
  - name: sandbox
    kind: sandbox
models:
  - id: m1
    routes: [sandbox]
    price: {{input: 2, output: 10}}
keys:
  - name: caller
    secret: {key}
    limits: {{requests_per_minute: 1000000, concurrent_requests: 0, budget: 100}}
"""
BALLAST = 4 << 20


class Gateway(weir.Process):
    def __init__(self, folder, data=None, durability="process", env=None, more=()):
        self.port = weir.free_port()
        self.data = data or os.path.join(folder, "data")
        path = os.path.join(folder, "weir.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(port=self.port, data=self.data, durability=durability, key=KEY))
        super().__init__([weir.binary(), "serve", "--config", path, "--quiet", *more], folder, env=env)
        weir.wait_for_port(self, self.port)

    def call(self, text="Reply with only: x", stream=False, seconds=20):
        """(status, body)."""
        body = {"model": "m1", "input": text, "stream": stream, "max_output_tokens": 500}
        status, _, reply = weir.fetch(f"http://127.0.0.1:{self.port}/v1/responses", "POST", body,
                                      {"authorization": "Bearer " + KEY}, seconds)
        return status, reply

    def death(self, seconds=20):
        status = self.child.wait(seconds)
        self.child.stdout.close()
        self.log.close()
        return status


def ledger(data, *words):
    """(exit status, standard output, standard error) of `weir ledger`."""
    done = subprocess.run([weir.binary(), "ledger", *words, "--data-dir", data], capture_output=True, text=True,
                          check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


class FolderTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="weir-faults-")
        self.data = os.path.join(self.folder, "data")
        self.running = []

    def tearDown(self):
        for gateway in self.running:
            if gateway.child.poll() is None:
                gateway.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, **options):
        self.running.append(Gateway(self.folder, **options))
        return self.running[-1]

    def some_calls(self, count=10, **options):
        gateway = self.start(**options)
        for _ in range(count):
            self.assertEqual(gateway.call()[0], 200)
        return gateway

    def refused(self):
        """Standard error of a start that must fail."""
        child = subprocess.run([weir.binary(), "serve", "--config", os.path.join(self.folder, "weir.yaml"), "--quiet"],
                               capture_output=True, text=True, check=False, timeout=30)
        self.assertEqual(child.returncode, 1, child.stderr)
        return child.stderr

    def assert_good(self):
        status, out, errors = ledger(self.data, "verify")
        self.assertEqual(status, 0, out + errors)
        self.assertIn("good", out)


class DiskErrors(FolderTest):
    """E6, E10, E13."""

    @classmethod
    def setUpClass(cls):
        cls.shim_folder = tempfile.mkdtemp(prefix="weir-shim-")
        cls.shim = os.path.join(cls.shim_folder, "fault_shim.so")
        compiler = next(c for c in ("clang-19", "clang", "cc", "gcc") if shutil.which(c))
        source = os.path.join(HERE, "fault_shim.c")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", cls.shim, source, "-ldl"], check=True)

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.shim_folder, ignore_errors=True)

    def faulty(self, order, target, durability):
        """Calls that work, then the order, then one call; how the process ended."""
        orders = os.path.join(self.folder, "order")
        gateway = self.some_calls(durability=durability, env={
            "LD_PRELOAD": self.shim, "FAULT_ORDER": orders, "FAULT_TARGET": os.path.join(self.data, target)})
        with open(orders, "w", encoding="utf-8") as file:
            file.write(order)
        try:
            status, _ = gateway.call()
            self.assertNotEqual(status, 200, "an end of a reply without its settlement")
        except OSError:
            pass  # the connection went with the process
        status = gateway.death()
        os.remove(orders)
        return status, gateway.errors()

    def test_e13_sync_that_fails_ends_the_process_and_the_next_start_goes_on(self):
        status, errors = self.faulty("sync-eio", "ledger.db-wal", "power")
        self.assertEqual(status, -6, errors)
        self.assertIn("ledger journal: disk I/O error", errors)
        self.some_calls(3).stop()
        self.assert_good()

    def test_e13_write_that_fails_ends_the_process_and_the_next_start_goes_on(self):
        status, errors = self.faulty("write-eio", "ledger.db-wal", "process")
        self.assertEqual(status, -6, errors)
        self.assertIn("ledger journal: disk I/O error", errors)
        self.some_calls(3).stop()
        self.assert_good()

    def test_e6_kill_in_the_middle_of_a_commit_leaves_all_of_it_or_nothing(self):
        for _ in range(3):
            status, errors = self.faulty("torn", "ledger.db-wal", "process")
            self.assertEqual(status, -9, errors)
            self.assert_good()
        self.some_calls(3).stop()
        self.assert_good()


    def test_e10_kill_in_the_middle_of_a_checkpoint_loses_nothing(self):
        orders = os.path.join(self.folder, "order")
        gateway = self.some_calls(env={"LD_PRELOAD": self.shim, "FAULT_ORDER": orders,
                                       "FAULT_TARGET": os.path.join(self.data, "ledger.db")})
        with open(orders, "w", encoding="utf-8") as file:
            file.write("torn")
        # The end of the process copies the WAL into the file; half of the first page is written.
        self.assertEqual(gateway.stop(), -9, gateway.errors())
        os.remove(orders)
        self.some_calls(3).stop()
        self.assert_good()
        status, out, _ = ledger(self.data, "statement", "caller", "--json")
        self.assertEqual(sum(json.loads(line)["kind"] == "settle" for line in out.splitlines()), 13)


class Damage(FolderTest):
    """E14, E17, and what an anchor is for."""

    def rows(self):
        with contextlib.closing(sqlite3.connect(os.path.join(self.data, "ledger.db"))) as database:
            return database.execute("SELECT first_position, count, records FROM journal ORDER BY 1").fetchall()

    def test_e14_flipped_bit_refuses_the_start_and_names_the_last_good_position(self):
        self.some_calls().stop()
        rows = self.rows()
        first, _, records = rows[len(rows) // 2]
        path = os.path.join(self.data, "ledger.db")
        with open(path, "r+b") as file:
            content = file.read()
            at = content.index(records) + len(records) // 2
            file.seek(at)
            file.write(bytes([content[at] ^ 0x10]))
        errors = self.refused()
        self.assertIn(f"journal row {first}: its chain does not fit", errors)
        self.assertIn(f"the last good position is {first - 1}", errors)
        self.assertIn("Restore the journal from a backup", errors)
        status, _, said = ledger(self.data, "verify")
        self.assertEqual(status, 1)
        self.assertIn(f"the last good position is {first - 1}", said)

    def test_e14_page_that_is_not_one_refuses_the_start(self):
        self.some_calls(60).stop()
        path = os.path.join(self.data, "ledger.db")
        with open(path, "r+b") as file:
            size = file.seek(0, 2)
            file.seek(size - size // 3 // 4096 * 4096)
            file.write(b"\xff" * 4096)
        errors = self.refused()
        self.assertRegex(errors, "malformed|does not fit|missing|damaged")
        self.assertEqual(errors.strip().count("\n"), 0, errors)

    def test_e17_second_process_is_turned_away_and_the_first_goes_on(self):
        gateway = self.some_calls(2)
        errors = self.refused()
        self.assertRegex(errors, "stop the gateway that runs on this data directory|another gateway runs on this data")
        self.assertEqual(errors.strip().count("\n"), 0, errors)
        self.assert_good()  # asked of the gateway, since nobody else may have the file
        os.remove(os.path.join(self.data, "admin-url"))
        os.remove(os.path.join(self.data, "admin-token"))
        status, _, said = ledger(self.data, "verify")
        self.assertEqual(status, 1)
        self.assertIn(f"by process {gateway.child.pid}: another gateway runs on this data directory", said)
        self.assertIn("and it cannot be asked", said)
        self.assertEqual(gateway.call()[0], 200)
        gateway.stop()
        self.assert_good()

    def test_anchor_finds_a_tail_that_was_cut_off_and_a_history_that_was_rewritten(self):
        self.some_calls().stop()
        status, anchor, errors = ledger(self.data, "anchor")
        self.assertEqual(status, 0, errors)
        kept = os.path.join(self.folder, "anchor.json")
        with open(kept, "w", encoding="utf-8") as file:
            file.write(anchor)
        older = os.path.join(self.folder, "older.db")
        shutil.copy(os.path.join(self.data, "ledger.db"), older)
        self.some_calls(3).stop()  # what was added behind the anchor is no harm
        status, out, errors = ledger(self.data, "verify", "--anchor", kept)
        self.assertEqual(status, 0, out + errors)
        self.assertIn(f"anchor     position {json.loads(anchor)['position']}: holds", out)

        with contextlib.closing(sqlite3.connect(os.path.join(self.data, "ledger.db"))) as database:
            database.execute("DELETE FROM journal WHERE first_position + count > ?", (json.loads(anchor)["position"],))
            database.commit()
        self.assert_good()  # the chain alone does not see it
        status, _, errors = ledger(self.data, "verify", "--anchor", kept)
        self.assertEqual(status, 1)
        self.assertIn("its end was cut off", errors)

        # A ledger of the same length with another past.
        shutil.rmtree(self.data)
        self.some_calls(14).stop()
        status, _, errors = ledger(self.data, "verify", "--anchor", kept)
        self.assertEqual(status, 1)
        self.assertIn("rewritten", errors)

    def test_books_are_those_of_the_admin_api(self):
        gateway = self.some_calls(7)
        gateway.stop()
        status, out, errors = ledger(self.data, "balance", "caller", "--json")
        self.assertEqual(status, 0, errors)
        [balance] = json.loads(out)
        status, out, errors = ledger(self.data, "statement", "caller", "--json")
        self.assertEqual(status, 0, errors)
        lines = [json.loads(line) for line in out.splitlines()]
        charges = [line for line in lines if line["kind"] == "settle"]
        self.assertEqual(len(charges), 7)
        nano = sum(round(float(line["charged_usd"]) * 1e9) for line in charges)
        self.assertEqual(nano, round(float(balance["spent_usd"]) * 1e9))
        self.assertGreater(nano, 0)
        status, out, _ = ledger(self.data, "trial-balance", "--json")
        trial = json.loads(out)
        self.assertTrue(trial["balanced"])
        [revenue] = [a for a in trial["accounts"] if a["account"] == "operator:revenue"]
        self.assertEqual(revenue["credits_posted_usd"], balance["spent_usd"])
        status, out, _ = ledger(self.data, "trial-balance", "--at", "1", "--json")
        self.assertEqual(json.loads(out)["position"], 1)
        status, csv, _ = ledger(self.data, "export", "--format", "csv")
        status, jsonl, _ = ledger(self.data, "export")
        self.assertEqual(len(csv.splitlines()), len(jsonl.splitlines()) + 1)
        self.assertEqual(len({len(line.split(",")) for line in csv.splitlines()}), 1)


class DiskFull(unittest.TestCase):
    """E12."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="weir-full-")
        self.disk = os.path.join(self.folder, "disk")
        os.mkdir(self.disk)
        # Only for this process and what it starts; gone with it.
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", self.disk], check=True)

    def tearDown(self):
        subprocess.run(["umount", "-l", self.disk], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def fill(self):
        with open(os.path.join(self.disk, "filler"), "ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    pass

    def test_e12_open_requests_settle_new_ones_are_refused_and_it_goes_on_with_space(self):
        data = os.path.join(self.disk, "data")
        gateway = Gateway(self.folder, data=data, more=("--ballast-bytes", str(BALLAST)))
        try:
            self.assertEqual(gateway.call()[0], 200)
            self.assertGreaterEqual(os.stat(os.path.join(data, "ballast")).st_blocks * 512, BALLAST)
            seen = []
            streams = [threading.Thread(target=lambda: seen.append(gateway.call("Count from 1 to 12 slowly", True, 30)))
                       for _ in range(8)]
            for stream in streams:
                stream.start()
            time.sleep(0.8)  # all are under way
            self.fill()
            for stream in streams:
                stream.join()
            for status, body in seen:
                self.assertEqual(status, 200)
                self.assertIn(b"response.completed", body, "a stream was cut although there was a ballast")
            self.assertEqual(len(seen), 8)
            self.assertFalse(os.path.exists(os.path.join(data, "ballast")))
            status, body = gateway.call()
            self.assertEqual(status, 503)
            self.assertEqual(json.loads(body)["error"]["code"], "ledger_unavailable")
            self.assertIn("disk full, new requests are refused", gateway.errors())

            os.remove(os.path.join(self.disk, "filler"))
            end = time.monotonic() + 20
            while gateway.call()[0] != 200:
                self.assertLess(time.monotonic(), end, "it did not go on although there is space")
                time.sleep(0.1)
            self.assertTrue(os.path.exists(os.path.join(data, "ballast")))
        finally:
            gateway.stop()
        status, out, errors = ledger(data, "verify", "--json")
        self.assertEqual(status, 0, out + errors)
        self.assertEqual(json.loads(out)["requests_open"], 0)
        status, out, _ = ledger(data, "statement", "caller", "--json")
        charged = [line for line in map(json.loads, out.splitlines()) if line["kind"] == "settle"]
        self.assertEqual(sum(line["usage_source"] == "provider" for line in charged), 10)


def main():
    inside = "--inside" in sys.argv
    if inside:
        sys.argv.remove("--inside")
    elif shutil.which("unshare") and subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"],
                                                   capture_output=True, check=False).returncode == 0:
        os.execvp("unshare", ["unshare", "-rm", sys.executable, os.path.abspath(__file__), "--inside", *sys.argv[1:]])
    if not inside:
        print("E12 is left out: this kernel lets us mount no small disk")
        global DiskFull
        del DiskFull
    unittest.main()


if __name__ == "__main__":
    main()
