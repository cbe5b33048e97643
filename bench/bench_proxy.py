#!/usr/bin/env python3
"""Measures Weir beside nginx: the same mock, the same load, the same cores, in turn, for several rounds.

    ./dev bench proxy [--json] [--rounds N] [--seconds S] [--binary PATH ...] [--only json,sse,...]

What is measured, and how:
  json      requests/s at saturation (32 connections, 2 KB request, 1 KB reply) and CPU time of the proxy's
            processes (user + system, all threads, /proc/PID/stat) over the requests served
  large     the same with request bodies of 100 KB
  latency   100 requests/s on a fixed schedule: p50 and p99 minus those of the mock without a proxy
  sse       100 streams of 100 events/s: CPU time over events that arrived
  memory    RSS idle, with 1,000 and with 10,000 open, mostly idle streams (first round only)

Weir runs with everything on: key, limits, a budget hold on every request, the durable journal, metrics
and the log line. nginx is a bare proxy_pass: keep-alive, no log, no buffering. Machines are noisy, so read
the ratios, which compare runs of one round; the figures printed are medians with minimum and maximum. The
CPU of mock and load generator is shown because a full core there would mean they were measured instead.

Everything is on loopback, on free ports; every process is ended by its id; the whole is bounded in time.
"""
import argparse
import json
import os
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

TICK = os.sysconf("SC_CLK_TCK")
KEY = "wr_" + "bench0" * 8
DESCRIPTORS = 65536
START_SECONDS = 20

NGINX_CONF = """
{user}
worker_processes 1;
worker_rlimit_nofile {descriptors};
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log error;
events {{ worker_connections 30000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  client_max_body_size 64m;
  client_body_buffer_size 256k;
  keepalive_requests 100000000;
  tcp_nodelay on;
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://mock;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 600s;
    }}
  }}
}}
"""

WEIR_YAML = """
listen: 127.0.0.1:{port}
admin:
  listen: 127.0.0.1:{admin_port}
workers: 1
data_dir: {folder}/data
upstreams:
  - name: mock
    kind: openai
    base_url: http://127.0.0.1:{upstream}/v1
    api_key: upstream-key
models:
  - id: gpt-5.5
    routes: [mock]
    price: {{input: 1.25, output: 10}}
keys:
  - name: bench
    secret: {key}
    limits:
      requests_per_minute: 100000000
      tokens_per_minute: 1000000000000
      concurrent_requests: 100000
      budget: 1000000
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def raise_descriptor_limit():
    for hard in (DESCRIPTORS, resource.getrlimit(resource.RLIMIT_NOFILE)[1]):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            return hard
        except (ValueError, OSError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


class Process:
    """A child with its descendants: nginx does its work in one."""

    def __init__(self, name, argv, folder, reads_output=False):
        self.name = name
        self.errors = open(os.path.join(folder, f"{name}.err"), "wb")
        output = subprocess.PIPE if reads_output else open(os.devnull, "wb")
        self.child = subprocess.Popen(argv, stdout=output, stderr=self.errors, cwd=folder,
                                      stdin=subprocess.DEVNULL, text=reads_output)

    def read_json(self):
        line = self.child.stdout.readline()
        if not line:
            status = self.child.wait(10)
            self.errors.flush()
            with open(self.errors.name, encoding="utf-8", errors="replace") as file:
                raise SystemExit(f"bench_proxy: {self.name} ended with {status}: {file.read()[-2000:]}")
        return json.loads(line)

    def pids(self):
        found = [self.child.pid]
        for pid in found:
            try:
                with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                    found += [int(part) for part in file.read().split()]
            except OSError:
                pass
        return found

    def cpu_seconds(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/stat", encoding="ascii") as file:
                fields = file.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def rss_kb(self):
        total = 0
        for pid in self.pids():
            with open(f"/proc/{pid}/status", encoding="ascii") as file:
                for line in file:
                    if line.startswith("VmRSS:"):
                        total += int(line.split()[1])
        return total

    def stop(self):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(5)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        if self.child.stdout:
            self.child.stdout.close()
        self.errors.close()


def wait_for_port(process, port):
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.child.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)
    process.errors.flush()
    with open(process.errors.name, encoding="utf-8", errors="replace") as file:
        raise SystemExit(f"bench_proxy: {process.name} did not start:\n{file.read()[-2000:]}")


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        tools = os.path.join(options.build, "bench")
        self.loadgen = os.path.join(tools, "loadgen")
        self.mock_binary = os.path.join(tools, "mock_fast")
        self.mock = None
        self.mock_port = 0

    def start_mock(self):
        self.mock = Process("mock", [self.mock_binary], self.folder, reads_output=True)
        self.mock_port = json.loads(self.mock.child.stdout.readline())["port"]

    def start_nginx(self):
        port = free_port()
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(NGINX_CONF.format(user="user root;" if os.geteuid() == 0 else "", folder=self.folder,
                                         port=port, upstream=self.mock_port, descriptors=DESCRIPTORS))
        binary = shutil.which("nginx") or "/usr/sbin/nginx"
        process = Process("nginx", [binary, "-e", os.path.join(self.folder, "nginx-error.log"), "-c", path],
                          self.folder)
        wait_for_port(process, port)
        return process, port, "/v1/responses"

    def start_weir(self, binary):
        port = free_port()
        folder = tempfile.mkdtemp(dir=self.folder)
        path = os.path.join(folder, "weir.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(WEIR_YAML.format(port=port, admin_port=free_port(), upstream=self.mock_port,
                                        folder=folder, key=KEY))
        process = Process("weir", [binary, "serve", "--config", path], folder)
        wait_for_port(process, port)
        return process, port, "/openai/v1/responses"

    def load(self, measured, port, path, mode, connections, seconds, **more):
        """Runs the generator; CPU clocks are read when its window opens and when it closes."""
        argv = [self.loadgen, "--port", str(port), "--path", path, "--key", KEY, "--mode", mode,
                "--connections", str(connections), "--seconds", str(seconds)]
        for name, value in more.items():
            argv += ["--" + name.replace("_", "-"), str(value)]
        generator = Process("loadgen", argv, self.folder, reads_output=True)
        watched = {"proxy": measured, "mock": self.mock}
        watched = {name: process for name, process in watched.items() if process is not None}
        try:
            ready = generator.read_json()
            before = {name: process.cpu_seconds() for name, process in watched.items()}
            started = time.monotonic()
            rss = None
            if mode == "sse" and measured is not None:
                time.sleep(seconds / 2)
                rss = measured.rss_kb()
            result = generator.read_json()
            elapsed = time.monotonic() - started
            after = {name: process.cpu_seconds() for name, process in watched.items()}
        finally:
            generator.child.stdout.close()
            generator.child.wait(10)
            generator.stop()
        for process in watched.values():
            if process.child.poll() is not None:
                raise SystemExit(f"bench_proxy: {process.name} ended with {process.child.returncode} while measured")
        result["open_at_start"] = ready["open"]
        result["rss_kb"] = rss
        for name, value in after.items():
            result[f"{name}_cpu_seconds"] = round(value - before[name], 4)
            result[f"{name}_cpu_percent"] = round(100 * (value - before[name]) / elapsed, 1)
        return result

    def measure(self, name, binary=None):
        """One subject, all modes. `direct` has no process of its own."""
        seconds, only = self.options.seconds, self.options.only
        if name == "direct":
            process, port, path = None, self.mock_port, "/v1/responses"
        elif name == "nginx":
            process, port, path = self.start_nginx()
        else:
            process, port, path = self.start_weir(binary)
        out = {}
        try:
            if "latency" in only:
                out["latency"] = self.load(process, port, path, "rate", 16, max(seconds, 10), rate=100)
            if process is not None:
                if "json" in only:
                    out["json"] = self.load(process, port, path, "closed", 32, seconds)
                if "large" in only:
                    out["large"] = self.load(process, port, path, "closed", 32, seconds, body_bytes=100_000)
                if "sse" in only:
                    out["sse"] = self.load(process, port, path, "sse", 100, seconds,
                                           switches="interval_ms=10 events=1000000")
                for mode, unit in (("json", "replies"), ("large", "replies"), ("sse", "events")):
                    if mode in out:
                        served = max(out[mode][unit], 1)
                        out[mode]["cpu_us"] = round(out[mode]["proxy_cpu_seconds"] * 1e6 / served, 3)
        finally:
            if process is not None:
                process.stop()
        return out

    def measure_memory(self, name, binary=None):
        """A fresh process, so that no earlier load has grown it."""
        process, port, path = self.start_nginx() if name == "nginx" else self.start_weir(binary)
        out = {}
        try:
            time.sleep(0.5)
            out["idle_kb"] = process.rss_kb()
            for wanted in (1000, 10000):
                # A proxy needs two descriptors a stream. Where the system allows fewer, what fits is
                # measured and the growth scaled up; `open` says what was.
                streams = min(wanted, (self.options.descriptors - 400) // 2)
                run = self.load(process, port, path, "sse", streams, 4,
                                switches="interval_ms=10000 events=1000000")
                grown = run["rss_kb"] - out["idle_kb"]
                out[f"{wanted}_streams_kb"] = out["idle_kb"] + grown * wanted // streams
                out[f"{wanted}_streams_open"] = run["open"]
                out[f"{wanted}_streams_failures"] = run["failures"]
                time.sleep(0.5)
        finally:
            process.stop()
        return out


def spread(values):
    values = [value for value in values if value is not None]
    if not values:
        return None
    return {"median": round(statistics.median(values), 3), "min": round(min(values), 3),
            "max": round(max(values), 3)}


def summarise(rounds, memory, subject):
    def ratio(mode):
        return spread([r[subject][mode]["cpu_us"] / r["nginx"][mode]["cpu_us"]
                       for r in rounds if mode in r.get("nginx", {}) and r["nginx"][mode]["cpu_us"] > 0])

    def added(quantile, name):
        return spread([r[name]["latency"][quantile] - r["direct"]["latency"][quantile]
                       for r in rounds if "latency" in r.get(name, {}) and "latency" in r.get("direct", {})])

    def figure(name, mode, field):
        return spread([r[name][mode][field] for r in rounds if mode in r.get(name, {})])

    out = {"cpu_per_request_ratio": ratio("json"), "cpu_per_sse_event_ratio": ratio("sse"),
           "cpu_per_large_request_ratio": ratio("large"),
           "added_p50_us": added("p50_us", subject), "added_p99_us": added("p99_us", subject),
           "nginx_added_p50_us": added("p50_us", "nginx"), "nginx_added_p99_us": added("p99_us", "nginx")}
    for name, label in ((subject, ""), ("nginx", "nginx_")):
        for mode in ("json", "large", "sse"):
            out[f"{label}{mode}_cpu_us"] = figure(name, mode, "cpu_us")
        out[f"{label}requests_per_second"] = figure(name, "json", "per_second")
        out[f"{label}mock_cpu_percent"] = figure(name, "json", "mock_cpu_percent")
        out[f"{label}loadgen_cpu_percent"] = figure(name, "json", "loadgen_cpu_percent")
        if name in memory:
            for field, value in memory[name].items():
                out[f"{label}rss_{field}"] = value
    out["failures"] = sum(run["failures"] for r in rounds for run in r[subject].values())
    return out


def show(title, summary):
    print(f"\n{title}")
    for name, value in summary.items():
        if isinstance(value, dict):
            print(f"  {name:32} {value['median']:>12,.3f}   min {value['min']:,.3f}  max {value['max']:,.3f}")
        elif value is not None:
            print(f"  {name:32} {value:>12,}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build/release", help="folder with weir and bench/")
    parser.add_argument("--binary", action="append", help="a weir to measure; several are compared")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each measured window")
    parser.add_argument("--only", default="json,large,latency,sse,memory")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    options.only = set(options.only.split(","))
    options.rounds = min(max(options.rounds, 1), 50)
    options.seconds = min(max(options.seconds, 1), 60)
    binaries = [os.path.abspath(path) for path in options.binary or [os.path.join(options.build, "weir")]]
    options.descriptors = raise_descriptor_limit()

    subjects = [("nginx", None)] + [(f"weir{i or ''}", binary) for i, binary in enumerate(binaries)]
    rounds, memory = [], {}
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as folder:
        bench = Bench(options, folder)
        bench.start_mock()
        try:
            for number in range(options.rounds):
                result = {"direct": bench.measure("direct")}
                # Whoever is first in one round is last in the next.
                for name, binary in subjects[number % len(subjects):] + subjects[:number % len(subjects)]:
                    print(f"round {number + 1} of {options.rounds}: {name}", file=sys.stderr, flush=True)
                    result[name] = bench.measure(name, binary)
                rounds.append(result)
            if "memory" in options.only:
                for name, binary in subjects:
                    print(f"memory: {name}", file=sys.stderr, flush=True)
                    memory[name] = bench.measure_memory(name, binary)
        finally:
            bench.mock.stop()

    summaries = {name: summarise(rounds, memory, name) for name, binary in subjects if binary}
    if options.json:
        first = summaries["weir"]
        flat = {name: first[name]["median"] if first.get(name) else None
                for name in ("cpu_per_request_ratio", "cpu_per_sse_event_ratio", "added_p50_us", "added_p99_us")}
        flat["rss_1000_streams_kb"] = first.get("rss_1000_streams_kb")
        flat["rss_10000_streams_kb"] = first.get("rss_10000_streams_kb")
        print(json.dumps({**flat, "summaries": summaries, "memory": memory, "rounds": rounds}))
    else:
        for (name, binary) in subjects:
            if binary:
                show(f"{name}: {binary} (ratios to nginx of the same round)", summaries[name])
    return 1 if any(summary["failures"] for summary in summaries.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
