// The command line as a user meets it: exit codes, what is printed where, shell completion.

#include "cli/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/json.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "cli/completion.h"
#include "server/receipt.h"
#include "store/policy_store.h"

namespace weir::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

struct Outcome {
  int code = 0;
  std::string out;
  std::string err;
};

Outcome Weir(std::vector<std::string> words) {
  words.insert(words.begin(), "weir");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  Outcome outcome;
  outcome.code = RunCli(static_cast<int>(words.size()), argv.data());
  std::fflush(stdout);
  outcome.out = testing::internal::GetCapturedStdout();
  outcome.err = testing::internal::GetCapturedStderr();
  return outcome;
}

class CliTest : public testing::Test {
 protected:
  CliTest() {
    directory_ =
        std::filesystem::temp_directory_path() / ("weir_cli_test." + std::to_string(getpid()));
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~CliTest() override { std::filesystem::remove_all(directory_); }
  std::string Write(const std::string& name, std::string_view text) {
    const std::string path = (directory_ / name).string();
    std::ofstream(path) << text;
    return path;
  }
  std::filesystem::path directory_;
};

TEST_F(CliTest, AWrongCommandLine_IsStatus2AndOneSentence) {
  struct Case {
    std::vector<std::string> words;
    std::string_view says;
  };
  for (const Case& c : std::initializer_list<Case>{
           {{}, "weir --help"},
           {{"nope"}, "there is no command weir nope"},
           {{"keys"}, "weir keys --help"},
           {{"keys", "nope"}, "there is no command weir keys nope"},
           {{"keys", "create"}, "--name"},
           {{"keys", "list", "--limit", "0"}, "--limit"},
           {{"keys", "list", "--cursor", "a&limit=1"}, "cursor"},
           {{"keys", "rotate", "x", "--overlap-seconds", "-1"}, "--overlap-seconds"},
           {{"serve", "--nope"}, "--nope"},
           {{"validate"}, "files"},
           {{"completion", "tcsh"}, "tcsh"},
           {{"reference", "nope"}, "nope"},
       }) {
    const Outcome outcome = Weir(c.words);
    EXPECT_EQ(outcome.code, kExitUsage) << outcome.err;
    EXPECT_THAT(outcome.err, HasSubstr(std::string(c.says)));
    EXPECT_EQ(outcome.err.substr(0, 6), "weir: ");
    EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
    EXPECT_EQ(outcome.out, "");
  }
}

TEST_F(CliTest, HelpAndVersion_AreDone) {
  EXPECT_EQ(Weir({"--help"}).code, kExitDone);
  EXPECT_THAT(Weir({"keys", "create", "--help"}).out, HasSubstr("--budget"));
  const Outcome version = Weir({"version", "--json"});
  EXPECT_EQ(version.code, kExitDone);
  EXPECT_TRUE(boost::json::parse(version.out).as_object().contains("version"));
  EXPECT_THAT(Weir({"version"}).out, HasSubstr("weir "));
}

constexpr std::string_view kGood = R"(upstreams:
  - name: here
    kind: sandbox
models:
  - id: m1
    routes: [here]
    price: {input: 1, output: 2}
)";

TEST_F(CliTest, Validate_SaysWhatIsWrongWhere) {
  const std::string good = Write("good.yaml", kGood);
  const std::string bad = Write("bad.yaml", std::string(kGood) + "wrokers: 3\n");
  Outcome outcome = Weir({"validate", good});
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("good.yaml: valid"));
  outcome = Weir({"validate", good, bad});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("bad.yaml:8"));
  EXPECT_THAT(outcome.err, HasSubstr("wrokers"));
  outcome = Weir({"validate", "--json", bad, (directory_ / "missing.yaml").string()});
  EXPECT_EQ(outcome.code, kExitFailed);
  const boost::json::value result = boost::json::parse(outcome.out);
  const auto& files = result.at("files").as_array();
  ASSERT_EQ(files.size(), 2U);
  EXPECT_FALSE(files[0].at("valid").as_bool());
  EXPECT_EQ(files[0].at("errors").at(0).at("line").as_int64(), 8);
  EXPECT_THAT(std::string(files[1].at("errors").at(0).at("message").as_string()),
              HasSubstr("cannot be read"));
}

TEST_F(CliTest, Validate_WarnsOfAPoolNobodyHas) {
  const std::string path = Write("pools.yaml", std::string(kGood) +
                                                   "pools: [{name: used}, {name: idle}]\n"
                                                   "packages: [{name: p, pools: [used]}]\n");
  Outcome outcome = Weir({"validate", path});
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("warning: no package has the pool idle; name it"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("the pool used")));
  EXPECT_THAT(outcome.out, HasSubstr(": valid"));
  outcome = Weir({"validate", "--json", path});
  const boost::json::value result = boost::json::parse(outcome.out);
  EXPECT_TRUE(result.at("files").at(0).at("valid").as_bool());
  EXPECT_EQ(result.at("files").at(0).at("warnings").as_array().size(), 1U);
}

TEST_F(CliTest, Validate_NeverShowsASecret) {
  const std::string path =
      Write("secret.yaml", std::string(kGood) + "keys:\n  - name: k\n    secret: canary key\n");
  const Outcome outcome = Weir({"validate", path});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err + outcome.out, Not(HasSubstr("canary")));
}

TEST_F(CliTest, KeysWithoutAServer_SaysWhatToDo) {
  const std::string data = (directory_ / "data").string();
  Outcome outcome = Weir({"keys", "list", "--data-dir", data});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("--data-dir"));
  outcome = Weir({"keys", "list", "--token", "canary", "--admin-url", "ftp://x"});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("must look like http://127.0.0.1:8081"));
  EXPECT_THAT(outcome.err, Not(HasSubstr("canary")));
}

// What `weir keys create` with these options sends: the body of its request. The listener answers
// it with a key.
std::string BodySent(std::vector<std::string> options) {
  namespace asio = boost::asio;
  asio::io_context io;
  asio::ip::tcp::acceptor acceptor(io, {asio::ip::address_v4::loopback(), 0});
  std::string body;
  std::thread listener([&] {
    boost::system::error_code error;
    asio::ip::tcp::socket socket = acceptor.accept(error);
    std::string request;
    asio::read_until(socket, asio::dynamic_buffer(request), "\r\n\r\n", error);
    body = request.substr(request.find("\r\n\r\n") + 4);
    const auto length = request.find("content-length: ");
    if (error || length == std::string::npos) return;
    const std::size_t whole = std::strtoul(request.c_str() + length + 16, nullptr, 10);
    if (body.size() < whole) {
      asio::read(socket, asio::dynamic_buffer(body), asio::transfer_exactly(whole - body.size()),
                 error);
    }
    asio::write(socket,
                asio::buffer(std::string_view("HTTP/1.1 201 Created\r\nContent-Length: 39\r\n\r\n"
                                              R"({"key":{"id":"key_1"},"secret":"wr_x"} )")),
                error);
  });
  std::vector<std::string> words = {
      "keys",        "create",
      "--token",     "t",
      "--admin-url", "http://127.0.0.1:" + std::to_string(acceptor.local_endpoint().port()),
      "--name",      "a"};
  words.insert(words.end(), options.begin(), options.end());
  const Outcome outcome = Weir(std::move(words));
  listener.join();
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("wr_x"));
  return body;
}

TEST_F(CliTest, KeysCreate_SendsWhatWasAskedForAndNothingElse) {
  EXPECT_EQ(BodySent({}), R"({"name":"a"})");
  EXPECT_EQ(
      BodySent(
          {"--workspace",    "acme",        "--package",      "gold",       "--codex-adaptation",
           "--payload-rule", "a.0=\"b=c\"", "--payload-rule", "d=[1]",      "--no-downgrade",
           "--budget",       "none",        "--attribute",    "team=a=b c", "--attribute",
           "user=u",         "--metadata",  "user",           "--metadata", "workflow"}),
      R"({"name":"a","workspace":"acme","package":"gold","codex_adaptation":true,)"
      R"("payload_rules":[{"path":"a.0","value":"b=c"},{"path":"d","value":[1]}],)"
      R"("allow_downgrade":false,"attributes":{"team":"a=b c","user":"u"},)"
      R"("metadata":["user","workflow"],"limits":{"budget_usd":null}})");
}

TEST_F(CliTest, KeysCreate_AnAttributeThatIsNone_IsSaidBeforeAnythingIsSent) {
  for (const auto& [given, said] :
       {std::pair("team", "is not DIMENSION=VALUE"), std::pair("=x", "is not DIMENSION=VALUE")}) {
    const Outcome outcome = Weir({"keys", "create", "--name", "a", "--attribute", given});
    EXPECT_EQ(outcome.code, kExitFailed);
    EXPECT_THAT(outcome.err, HasSubstr(said));
  }
  const Outcome twice =
      Weir({"keys", "create", "--name", "a", "--attribute", "team=x", "--attribute", "team=y"});
  EXPECT_EQ(twice.code, kExitFailed);
  EXPECT_THAT(twice.err, HasSubstr("--attribute team is given twice"));
}

TEST_F(CliTest, AuditVerify_NamesTheFirstBadRow_AndSeesACutTailAgainstAHead) {
  const std::string dir = directory_.string();
  const auto note = [&](int count) {
    const auto store = store::PolicyStore::Open(dir + "/policies.db");
    ASSERT_TRUE(store) << store.error().detail;
    for (int i = 0; i < count; ++i) {
      ASSERT_TRUE((*store)->Note({.at = Instant{i},
                                  .actor = "alice",
                                  .action = "policy.put",
                                  .object = "policy:p",
                                  .before = {},
                                  .after = {},
                                  .reason = {},
                                  .outcome = "done"}));
    }
  };
  EXPECT_THAT(Weir({"audit", "verify", "--data-dir", dir}).err, HasSubstr("there is no "));
  note(5);
  Outcome outcome = Weir({"audit", "verify", "--data-dir", dir});
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("5 rows are right"));
  std::string head = Weir({"audit", "head", "--data-dir", dir}).out;
  ASSERT_THAT(head, HasSubstr("5:"));
  head.pop_back();
  note(1);
  outcome = Weir({"audit", "verify", "--data-dir", dir, "--head", head});
  EXPECT_EQ(outcome.code, kExitDone) << outcome.err;
  EXPECT_THAT(outcome.out, Not(HasSubstr("kept elsewhere")));
  head.back() = head.back() == '0' ? '1' : '0';
  outcome = Weir({"audit", "verify", "--data-dir", dir, "--head", head});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("broken at row 5"));
  outcome = Weir({"audit", "verify", "--data-dir", dir, "--head", "9" + head});
  EXPECT_EQ(outcome.code, kExitFailed);
  EXPECT_THAT(outcome.err, HasSubstr("broken at row 7: rows from 7 on are missing"));
  EXPECT_EQ(Weir({"audit", "verify", "--data-dir", dir, "--head", "x"}).code, kExitUsage);
}

TEST_F(CliTest, Operators_AreNamedByWhatFitsAPath) {
  for (const char* command : {"change", "delete"}) {
    const Outcome outcome = Weir({"operators", command, "a/b", "--token", "t"});
    EXPECT_EQ(outcome.code, kExitFailed);
    EXPECT_THAT(outcome.err, HasSubstr("there is no such operator"));
  }
  EXPECT_EQ(Weir({"operators", "create", "--name", "a", "--role", "root"}).code, kExitUsage);
}

TEST_F(CliTest, ReceiptVerify_SaysWhetherItIsAsItWasSigned) {
  const store::ReceiptKey signer(Secret(std::string(32, 's')));
  telemetry::ExchangeRecord record;
  record.request = RequestId{{1, 2}};
  std::string text = server::MakeReceipt(record, nullptr, {}, server::ReceiptView::kOwner, signer);
  const std::string file = Write("receipt.json", text);
  const std::string key = Write("key", signer.public_key() + "\n");
  const std::string served = Write("key.json", server::ReceiptKeyBody(signer));

  const Outcome unknown = Weir({"receipt", "verify", file});
  EXPECT_EQ(unknown.code, kExitDone) << unknown.err;
  EXPECT_THAT(unknown.out, HasSubstr("give --key"));
  for (const std::string& given : {signer.public_key(), key, served}) {
    const Outcome known = Weir({"receipt", "verify", file, "--key", given});
    EXPECT_EQ(known.code, kExitDone) << known.err;
    EXPECT_THAT(known.out, HasSubstr("req_" + ToString(record.request)));
    EXPECT_THAT(known.out, Not(HasSubstr("give --key")));
  }
  text.replace(text.find("\"status\":0"), 10, "\"status\":1");
  const std::string changed = Write("changed.json", text);
  const Outcome bad = Weir({"receipt", "verify", changed, "--key", key});
  EXPECT_EQ(bad.code, kExitFailed);
  EXPECT_THAT(bad.err, HasSubstr("the signature does not fit"));
  EXPECT_THAT(Weir({"receipt", "verify", changed, "--json"}).out, HasSubstr(R"("valid":false)"));
  EXPECT_EQ(Weir({"receipt", "verify", file, "--key", "no-such-file"}).code, kExitFailed);
  EXPECT_EQ(Weir({"receipt", "verify", "no-such-file"}).code, kExitFailed);
  EXPECT_EQ(Weir({"receipt", "show", "../keys"}).code, kExitFailed);
}

TEST_F(CliTest, Reference_PrintsEveryPage) {
  EXPECT_THAT(Weir({"reference", "options"}).out, HasSubstr("upstreams"));
  EXPECT_THAT(Weir({"reference", "errors"}).out, HasSubstr("budget_exceeded"));
  EXPECT_THAT(Weir({"reference", "metrics"}).out, HasSubstr("weir_requests_total"));
  EXPECT_THAT(Weir({"reference", "openapi"}).out, HasSubstr("openapi: 3.1.0"));
}

// ------------------------------------------------------------------------------ completion

// What bash would offer for the words typed so far; the last one is being completed.
std::string Complete(const std::string& script, const std::vector<std::string>& words) {
  std::string command = "source '" + script + "' && COMP_WORDS=(";
  for (const std::string& word : words) command += "'" + word + "' ";
  command += ") && COMP_CWORD=" + std::to_string(words.size() - 1) +
             " && _weir && printf '%s\\n' \"${COMPREPLY[@]}\"";
  FILE* pipe = popen(("bash --norc -c \"" +
                      [&] {
                        std::string quoted;
                        for (const char c : command) {
                          if (c == '"' || c == '$' || c == '\\' || c == '`') quoted += '\\';
                          quoted += c;
                        }
                        return quoted;
                      }() +
                      "\" 2>&1")
                         .c_str(),
                     "r");
  std::string out;
  std::array<char, 4096> buffer;
  while (pipe != nullptr && fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    out += buffer.data();
  }
  if (pipe != nullptr) pclose(pipe);
  return out;
}

TEST_F(CliTest, BashCompletion_CompletesCommandsOptionsAndFiles) {
  const Outcome script = Weir({"completion", "bash"});
  const std::string path = Write("weir.bash", script.out);
  ASSERT_EQ(std::system(("bash -n '" + path + "'").c_str()), 0);
  EXPECT_EQ(Complete(path, {"weir", "val"}), "validate\n");
  EXPECT_EQ(Complete(path, {"weir", "ke"}), "keys\n");
  EXPECT_EQ(Complete(path, {"weir", "keys", "r"}), "revoke\nrotate\n");
  EXPECT_EQ(Complete(path, {"weir", "keys", "create", "--bud"}), "--budget\n");
  // Options between the words do not hide the subcommand.
  EXPECT_EQ(Complete(path, {"weir", "keys", "--help", "create", "--name", "x", "--bud"}),
            "--budget\n");
  EXPECT_EQ(Complete(path, {"weir", "completion", ""}), "bash\nzsh\nfish\n--help\n");
  EXPECT_EQ(Complete(path, {"weir", "reference", "o"}), "options\nopenapi\n");
  EXPECT_EQ(Complete(path, {"weir", "serve", "--config", path.substr(0, path.size() - 3)}),
            path + "\n");
  EXPECT_EQ(Complete(path, {"weir", "validate", path.substr(0, path.size() - 3)}), path + "\n");
  EXPECT_EQ(Complete(path, {"weir", "nothing", "zzz"}), "\n");
}

TEST_F(CliTest, EveryShell_KnowsEveryCommandAndOption) {
  int code = 0;
  const auto app = MakeApp(code);
  const std::string zsh = ZshCompletion(*app);
  const std::string fish = FishCompletion(*app);
  for (const std::string_view word : {"serve", "demo", "validate", "keys", "mock-upstream", "sim",
                                      "version", "completion", "reference", "create", "rotate"}) {
    EXPECT_THAT(zsh, HasSubstr("'" + std::string(word) + ":")) << word;
    EXPECT_THAT(fish, HasSubstr(" -a " + std::string(word) + " ")) << word;
  }
  for (const std::string_view option :
       {"config", "overlap-seconds", "admin-url", "json", "budget"}) {
    EXPECT_THAT(zsh, HasSubstr("'--" + std::string(option) + ":")) << option;
    EXPECT_THAT(fish, HasSubstr(" -l " + std::string(option) + " ")) << option;
  }
  for (const auto& [shell, check] :
       {std::pair<std::string, std::string>{"zsh", "zsh -n"}, {"fish", "fish --no-execute"}}) {
    if (std::system(("command -v " + shell + " >/dev/null 2>&1").c_str()) != 0) {
      std::printf("skipped: %s is not installed, its script is not parsed\n", shell.c_str());
      continue;
    }
    const std::string path = Write("weir." + shell, shell == "zsh" ? zsh : fish);
    EXPECT_EQ(std::system((check + " '" + path + "'").c_str()), 0) << shell;
  }
}

}  // namespace
}  // namespace weir::cli
