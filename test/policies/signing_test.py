#!/usr/bin/env python3
"""The examples of docs/guide/request-metadata.md, run as they stand there: both make the signature that the gateway
takes (test/golden/request_metadata, which src/identity/metadata_test.cc reads, too)."""
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guide/request-metadata.md").read_text()
SECRET, CLAIMS, HEADER = (ROOT / "test/golden/request_metadata/signed.txt").read_text().splitlines()


def block(language):
    return re.search(rf"^```{language}\n(.*?)^```$", GUIDE, re.S | re.M).group(1)


class SigningTest(unittest.TestCase):
    def test_python(self):
        scope = {}
        exec(block("python"), scope)
        self.assertEqual(scope["sign_metadata"](SECRET, json.loads(CLAIMS)), HEADER)

    @unittest.skipUnless(shutil.which("node"), "node is not installed")
    def test_javascript(self):
        with tempfile.TemporaryDirectory() as folder:
            module = pathlib.Path(folder) / "sign.mjs"
            module.write_text(block("js") + "\nconst [, , secret, claims] = process.argv;\n"
                              "process.stdout.write(signMetadata(secret, JSON.parse(claims)));\n")
            made = subprocess.run(["node", str(module), SECRET, CLAIMS], capture_output=True, text=True, timeout=60)
        self.assertEqual(made.stdout, HEADER, made.stderr)


if __name__ == "__main__":
    unittest.main()
