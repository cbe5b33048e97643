#!/usr/bin/env python3
"""The counting of run.py: a range that is tried twice, or a run whose failure is not seen, would be worse than none."""
import json
import os
import stat
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import run  # noqa: E402


class RunTest(unittest.TestCase):
    def test_chunks_cover_each_seed_once(self):
        for first, count, size in [(1, 1, 10), (7, 10, 10), (7, 11, 10), (1, 35, 10)]:
            seeds = [seed for start, part in run.chunks(first, count, size) for seed in range(start, start + part)]
            self.assertEqual(seeds, list(range(first, first + count)))

    def test_a_run_goes_on_behind_the_last_seed_of_any_line(self):
        self.assertEqual(run.next_seed([]), 1)
        self.assertEqual(run.next_seed([{"seed_last": 500}, {"seed_last": 20}]), 501)

    def test_lines_of_another_workload_do_not_count(self):
        lines = [{"seed_last": 500}, {"seed_last": 20, "workload": run.WORKLOAD}, {"seed_last": 90, "workload": "old"}]
        self.assertEqual(run.next_seed(run.of_workload(lines)), 21)
        self.assertEqual(run.of_workload(lines, None), lines[:1])

    def run_with(self, script):
        with tempfile.TemporaryDirectory() as folder:
            binary = os.path.join(folder, "weir")
            with open(binary, "w", encoding="utf-8") as file:
                file.write("#!/bin/sh\n" + script)
            os.chmod(binary, os.stat(binary).st_mode | stat.S_IXUSR)
            return run.run_all(binary, 2, 40, [(1, 5), (6, 5), (11, 5)])

    def test_sums_are_taken_from_the_last_line(self):
        counts = {name: 2 for name in run.SUMS}
        results, failures = self.run_with(f"echo something\necho '{json.dumps(counts)}'\n")
        self.assertEqual(failures, [])
        self.assertEqual(run.add_up(results), {name: 6 for name in run.SUMS})

    def test_a_violation_is_a_failure_with_what_was_printed(self):
        counts = {name: 1 for name in run.SUMS}
        results, failures = self.run_with(f"echo seed 7: I6\necho '{json.dumps(counts)}'\nexit 1\n")
        self.assertEqual(len(results), 3)
        self.assertIn("seed 7: I6", failures[0])

    def test_a_process_that_died_is_a_failure_although_it_printed_nothing(self):
        results, failures = self.run_with("kill -9 $$\n")
        self.assertEqual(results, [])
        self.assertEqual(len(failures), 3)


if __name__ == "__main__":
    unittest.main()
