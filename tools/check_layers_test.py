#!/usr/bin/env python3
"""Each rule of tools/check_layers trips on the smallest file that breaks it, and on nothing beside it.

Every case is one file in a temporary tree; the expectation is the exact list of rules reported.
"""
import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
LOADER = importlib.machinery.SourceFileLoader("check_layers", os.path.join(HERE, "check_layers"))
SPEC = importlib.util.spec_from_loader("check_layers", LOADER)
check_layers = importlib.util.module_from_spec(SPEC)
sys.dont_write_bytecode = True
LOADER.exec_module(check_layers)


def rules_of(files, exceptions=None):
    with tempfile.TemporaryDirectory() as root:
        for path, text in files.items():
            full = os.path.join(root, path)
            os.makedirs(os.path.dirname(full), exist_ok=True)
            with open(full, "w", encoding="utf-8") as file:
                file.write(text)
        violations = check_layers.Checker(root, exceptions or {}).run()
        return [violation.split(": ")[1] for violation in violations]


class Includes(unittest.TestCase):
    def include(self, path, header):
        return rules_of({path: f'#include "{header}"\n'})

    def test_allowed(self):
        for path, header in [
                ("src/config/parse.cc", "base/result.h"), ("src/policy/quota.cc", "ledger/book.h"),
                ("src/routing/balancer.cc", "config/config.h"), ("src/gateway/pipeline.cc", "dialect/sse.h"),
                ("src/net/http1.cc", "gateway/ports.h"), ("src/store/journal.cc", "ledger/record.h"),
                ("src/server/worker.cc", "net/loop.h"), ("src/admin/routes.cc", "store/journal.h"),
                ("src/cli/serve.cc", "admin/routes.h"), ("src/main.cc", "cli/serve.h"),
                ("src/base/id.cc", "base/id.h"), ("src/sim/executor.cc", "store/journal.h"),
                ("src/ledger/book_test.cc", "policy/quota.h"), ("src/net/http1_test.cc", "gateway/pipeline.h")]:
            with self.subTest(path=path, header=header):
                self.assertEqual(self.include(path, header), [])

    def test_refused(self):
        for path, header in [
                ("src/base/id.cc", "config/config.h"), ("src/config/parse.cc", "ledger/book.h"),
                ("src/ledger/book.cc", "dialect/sse.h"), ("src/dialect/sse.cc", "ledger/book.h"),
                ("src/policy/quota.cc", "routing/balancer.h"), ("src/routing/balancer.cc", "dialect/sse.h"),
                ("src/gateway/pipeline.cc", "net/loop.h"), ("src/telemetry/log.cc", "gateway/ports.h"),
                ("src/net/http1.cc", "store/journal.h"), ("src/store/journal.cc", "net/loop.h"),
                ("src/net/http1.cc", "gateway/pipeline.h"), ("src/server/worker.cc", "admin/routes.h"),
                ("src/admin/routes.cc", "cli/serve.h"), ("src/sim/executor.cc", "net/loop.h"),
                ("src/ledger/book_test.cc", "server/worker.h"), ("src/base/id.cc", "unknown/x.h")]:
            with self.subTest(path=path, header=header):
                self.assertEqual(self.include(path, header), ["include"])

    def test_admin_does_not_call_a_stage(self):
        self.assertEqual(self.include("src/admin/keys.cc", "gateway/admit.h"), ["stage"])
        self.assertEqual(self.include("src/admin/keys.cc", "gateway/exchange.h"), [])

    def test_an_unknown_folder_is_refused(self):
        self.assertEqual(rules_of({"src/common/x.cc": ""}), ["folder"])

    def test_a_library_only_where_it_is_named(self):
        self.assertEqual(rules_of({"src/config/parse.cc": "#include <yaml-cpp/yaml.h>\n"}), [])
        self.assertEqual(rules_of({"src/ledger/book.cc": "#include <fmt/format.h>\n"}), ["library"])
        self.assertEqual(rules_of({"src/ledger/book_test.cc": "#include <gtest/gtest.h>\n"}), [])
        self.assertEqual(rules_of({"src/ledger/book.cc": "#include <gtest/gtest.h>\n"}), ["library"])
        self.assertEqual(rules_of({"src/net/loop.cc": "#include <boost/asio/post.hpp>\n"}), [])

    def test_headers_that_reach_the_world(self):
        for header in ("thread", "mutex", "atomic", "condition_variable", "sys/epoll.h", "boost/asio.hpp"):
            with self.subTest(header=header):
                self.assertEqual(rules_of({"src/policy/q.cc": f"#include <{header}>\n"}), ["header"])
                self.assertEqual(rules_of({"src/policy/q_test.cc": f"#include <{header}>\n"}), ["header"])
                self.assertEqual(rules_of({"src/store/q.cc": f"#include <{header}>\n"}), [])

    def test_a_test_may_read_files(self):
        self.assertEqual(rules_of({"src/policy/q.cc": "#include <fstream>\n"}), ["header"])
        self.assertEqual(rules_of({"src/policy/q_test.cc": "#include <fstream>\nstd::ifstream f;\n"}), [])


class Words(unittest.TestCase):
    CASES = [
        ("clock", "auto t = std::chrono::system_clock::now();"),
        ("clock", "auto t = Clock::now();"),
        ("clock", "clock_gettime(CLOCK_REALTIME, &ts);"),
        ("entropy", "std::random_device device;"),
        ("entropy", "std::uniform_int_distribution<int> d;"),
        ("entropy", "int x = rand();"),
        ("thread", "std::mutex mutex;"),
        ("thread", "std::atomic<int> n;"),
        ("thread", "std::jthread t;"),
        ("thread", "thread_local int n;"),
        ("sleep", "usleep(1);"),
        ("environment", 'getenv("HOME");'),
        ("iostream", "std::cout << 1;"),
        ("iostream", 'printf("x");'),
        ("file", 'auto f = fopen("x", "r");'),
        ("socket", "int s = socket(1, 2, 3);"),
    ]

    def test_refused_above_the_line_and_free_below(self):
        for rule, line in self.CASES:
            with self.subTest(rule=rule, line=line):
                above = rules_of({"src/gateway/x.cc": line + "\n"})
                self.assertTrue(above and set(above) == {rule}, above)
                self.assertEqual(rules_of({"src/net/x.cc": line + "\n"}), [])

    def test_comments_and_strings_are_not_code(self):
        text = ('// std::mutex is not used; getenv("X")\n/* thread_local\n std::cout */\n'
                'auto a = "std::mutex";\nauto b = R"(std::random_device)";\nauto c = \'"\';\n')
        self.assertEqual(rules_of({"src/base/x.cc": text}), [])

    def test_a_line_is_named_after_a_long_comment(self):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "src/base"))
            with open(os.path.join(root, "src/base/x.cc"), "w", encoding="utf-8") as file:
                file.write("/*\n\n*/\nstd::mutex m;\n")
            self.assertEqual(check_layers.Checker(root, {}).run(), ["src/base/x.cc:4: thread: std::mutex"])

    def test_a_member_called_send_is_no_socket(self):
        self.assertEqual(rules_of({"src/gateway/x.cc": "co_await port.send(x); y->connect(z);\n"}), [])

    def test_iteration_over_a_hash_table(self):
        body = "void F() {\n  for (const auto& x : seen_) Use(x);\n}\n"
        member = "class C { std::unordered_map<int, std::vector<int>> seen_; };\n"
        self.assertEqual(rules_of({"src/policy/x.cc": member + body}), ["unordered"])
        self.assertEqual(rules_of({"src/policy/x.h": member, "src/policy/x.cc": body}), ["unordered"])
        self.assertEqual(rules_of({"src/policy/x.cc": "std::vector<int> seen_;\n" + body}), [])
        self.assertEqual(rules_of({"src/server/x.cc": member + body}), [])


class Money(unittest.TestCase):
    def test_no_floating_point_where_an_amount_is(self):
        for path in ("src/ledger/book.cc", "src/policy/quote.cc", "src/commerce/plan.cc", "src/base/money.h",
                     "src/base/usage.h", "src/gateway/credit_control.cc"):
            for line in ("double x;", "float y;", "auto z = n * 0.5;", "std::stod(s);"):
                with self.subTest(path=path, line=line):
                    self.assertEqual(set(rules_of({path: line + "\n"})), {"float"})

    def test_floating_point_elsewhere_is_free(self):
        self.assertEqual(rules_of({"src/telemetry/metrics.cc": "double seconds = 0.5;\n"}), [])
        self.assertEqual(rules_of({"src/ledger/book.cc": "int doubled = Double(x); // 0.5\n"}), [])


class Sql(unittest.TestCase):
    def test_only_in_the_store(self):
        for text in ('"SELECT 1"', '"INSERT INTO t VALUES(1)"', '"CREATE TABLE t(x)"', '"DELETE FROM t"'):
            with self.subTest(text=text):
                self.assertEqual(rules_of({"src/admin/x.cc": f"auto q = {text};\n"}), ["sql"])
                self.assertEqual(rules_of({"src/store/x.cc": f"auto q = {text};\n"}), [])

    def test_plain_words_are_not_sql(self):
        self.assertEqual(rules_of({"src/admin/x.cc": 'auto s = "Select a model"; auto t = "update";\n'}), [])


class MachinePaths(unittest.TestCase):
    def test_refused_in_any_text(self):
        for path in ("docs/x.md", "dev", "src/net/x.cc", "tools/y.py"):
            with self.subTest(path=path):
                self.assertEqual(rules_of({path: "// see /" + "home/someone/x\n"}), ["machine path"])

    def test_a_path_of_the_product_is_none(self):
        self.assertEqual(rules_of({"docs/x.md": "/etc/weir.yaml, example.com/work/x, ~/work/x\n"}), [])


class Exceptions(unittest.TestCase):
    FILE = {"src/base/x.h": "thread_local int a;\n"}

    def test_named_with_its_word(self):
        key = ("src/base/x.h", "thread", "thread_local")
        self.assertEqual(rules_of(self.FILE, {key: "why"}), [])
        self.assertEqual(rules_of({"src/base/x.h": "thread_local int a; std::mutex m;\n"}, {key: "why"}), ["thread"])

    def test_a_stale_one_is_a_violation(self):
        key = ("src/base/gone.h", "thread", "thread_local")
        self.assertEqual(rules_of({"src/base/y.h": ""}, {key: "why"}), ["stale exception"])


if __name__ == "__main__":
    unittest.main()
