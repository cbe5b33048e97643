#!/usr/bin/env python3
"""Runs clang-tidy over the files that changed since they last passed.

    tools/tidy.py BUILD_FOLDER [FILE...]

A file that passed leaves a stamp in build/tidy, named by a hash of .clang-tidy and of every project
file its object was compiled from (ninja knows), so a changed header is looked at again wherever it is
included and nothing else is. Tests are left out: GoogleTest's macros cost more time than all the rest.
Also names, without failing, files that passed 500 lines since the main branch: length is watched, not
forbidden.
"""
import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LONG_FILE_LINES = 500


def units(build):
    """source -> object, for the project's own sources that git knows or would add."""
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "--cached", "--others", "--exclude-standard", "*.cc"],
                            capture_output=True, text=True, check=True).stdout.split("\n")
    known = {os.path.join(ROOT, path) for path in listed if path}
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        commands = json.load(file)
    return {command["file"]: command.get("output", "") for command in commands if command["file"] in known and
            not command["file"].endswith("_test.cc")}


def dependencies(build):
    """object -> project files it was compiled from, as ninja recorded them."""
    text = subprocess.run(["ninja", "-C", build, "-t", "deps"], capture_output=True, text=True, check=True).stdout
    found, current = {}, None
    for line in text.split("\n"):
        if line.startswith("    "):
            path = os.path.normpath(os.path.join(build, line.strip()))
            if path.startswith(ROOT + os.sep):
                current.append(path)
        elif ": #deps" in line:
            current = found.setdefault(line.split(":")[0], [])
    return found


class Hasher:
    def __init__(self):
        self.contents = {}

    def content(self, path):
        if path not in self.contents:
            with open(path, "rb") as file:
                self.contents[path] = hashlib.sha256(file.read()).digest()
        return self.contents[path]

    def of(self, paths):
        total = hashlib.sha256()
        for path in paths:
            total.update(os.path.relpath(path, ROOT).encode() + b"\0" + self.content(path))
        return total.hexdigest()


def check(build, source):
    done = subprocess.run(["clang-tidy-19", "-p", build, "--quiet", source], capture_output=True, text=True)
    return done.returncode == 0, done.stdout


def report_growth():
    base = subprocess.run(["git", "-C", ROOT, "merge-base", "HEAD", "main"], capture_output=True, text=True)
    if base.returncode != 0:
        return
    listed = subprocess.run(["git", "-C", ROOT, "ls-files", "*.cc", "*.h"], capture_output=True, text=True)
    for path in filter(None, listed.stdout.split("\n")):
        full = os.path.join(ROOT, path)
        if not os.path.exists(full):
            continue
        with open(full, encoding="utf-8") as file:
            lines = sum(1 for _ in file)
        if lines <= LONG_FILE_LINES:
            continue
        before = subprocess.run(["git", "-C", ROOT, "show", f"{base.stdout.strip()}:{path}"],
                                capture_output=True, text=True).stdout.count("\n")
        if before <= LONG_FILE_LINES:
            print(f"note: {path} has grown to {lines} lines; is it still one topic?")


def main():
    build = os.path.abspath(sys.argv[1])
    stamps = os.path.join(os.path.dirname(build), "tidy")
    os.makedirs(stamps, exist_ok=True)
    objects, depends, hasher = units(build), dependencies(build), Hasher()
    wanted = [os.path.abspath(path) for path in sys.argv[2:]] or sorted(objects)
    todo = []
    for source in wanted:
        if source not in objects:
            print(f"{os.path.relpath(source, ROOT)}: not compiled in {build}")
            return 1
        key = hasher.of([os.path.join(ROOT, ".clang-tidy"), source] + sorted(depends.get(objects[source], [])))
        if not os.path.exists(os.path.join(stamps, key)):
            todo.append((source, key))
    failed = 0
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("WEIR_JOBS") or os.cpu_count())) as pool:
        for (source, key), (good, text) in zip(todo, pool.map(lambda item: check(build, item[0]), todo)):
            if good:
                with open(os.path.join(stamps, key), "w", encoding="utf-8") as stamp:
                    stamp.write(os.path.relpath(source, ROOT) + "\n")
            else:
                failed += 1
                print(text.replace(ROOT + os.sep, ""), flush=True)
    report_growth()
    print(f"tidy: {len(wanted)} files, {len(todo)} looked at")
    print(f"{len(wanted) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
