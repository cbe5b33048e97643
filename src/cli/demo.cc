#include "cli/demo.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/cli.h"
#include "cli/serve.h"

namespace weir::cli {
namespace {

namespace fs = std::filesystem;

// The mock upstream as a process of its own, which ends with this one.
class MockProcess {
 public:
  ~MockProcess() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
  }

  // Its address, or empty when it did not start.
  std::string Start(const std::string& log_file) {
    int out[2];
    if (::pipe2(out, O_CLOEXEC) != 0) return {};
    const pid_t parent = ::getpid();
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (::getppid() != parent) ::_exit(1);
      ::dup2(out[1], STDOUT_FILENO);
      std::vector<std::string> words = {"weir", "mock-upstream", "--port", "0"};
      if (!log_file.empty()) {
        words.emplace_back("--log");
        words.push_back(log_file);
      }
      std::vector<char*> argv;
      for (auto& word : words) argv.push_back(word.data());
      argv.push_back(nullptr);
      ::execv("/proc/self/exe", argv.data());
      ::_exit(127);
    }
    ::close(out[1]);
    std::string line;
    char c = 0;
    while (::read(out[0], &c, 1) == 1 && c != '\n') line += c;
    ::close(out[0]);
    boost::system::error_code error;
    const auto parsed = boost::json::parse(line, error);
    if (error || !parsed.is_object()) return {};
    const auto* url = parsed.as_object().if_contains("url");
    return url != nullptr && url->is_string() ? std::string(url->as_string()) : std::string();
  }

 private:
  pid_t pid_ = -1;
};

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (fs::temp_directory_path() / "weir-demo-XXXXXX").string();
    if (::mkdtemp(pattern.data()) != nullptr) path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// examples/NAME/weir.yaml: from here, or from where this program was built or installed.
std::optional<std::string> FindExample(const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos || name.front() == '.') return {};
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& root :
       {fs::current_path(error), program / ".." / "..", program / ".." / "share" / "weir"}) {
    const fs::path file = root / "examples" / name / "weir.yaml";
    if (fs::exists(file, error)) return fs::weakly_canonical(file, error).string();
  }
  return std::nullopt;
}

void PrintReady(const Ready& ready, const config::Config& config, const std::string& mock_url,
                bool json) {
  if (json) {
    boost::json::object keys;
    for (const auto& key : ready.keys) keys[key.name] = key.secret.Reveal();
    boost::json::object upstreams;
    for (const auto& upstream : config.upstreams) upstreams[upstream.name] = mock_url;
    const boost::json::object line = {{"base_url", ready.base_url},
                                      {"admin_url", ready.admin_url},
                                      {"admin_token", ready.admin_token.Reveal()},
                                      {"keys", keys},
                                      {"upstreams", upstreams}};
    std::printf("%s\n", boost::json::serialize(line).c_str());
  } else {
    std::printf(
        "\n  %s is ready\n\n  gateway      %s\n  admin        %s\n  admin token  %s\n"
        "  upstream     %s (mock)\n",
        config.brand.name.c_str(), ready.base_url.c_str(), ready.admin_url.c_str(),
        std::string(ready.admin_token.Reveal()).c_str(), mock_url.c_str());
    for (const auto& key : ready.keys) {
      std::printf("  key %-12s %s\n", key.name.c_str(), std::string(key.secret.Reveal()).c_str());
    }
    std::printf("\n  Ctrl-C ends it and removes what it wrote.\n\n");
  }
  std::fflush(stdout);
}

}  // namespace

int RunDemo(const DemoOptions& options) {
  const auto file = FindExample(options.example);
  if (!file) {
    std::fprintf(stderr, "weir: there is no examples/%s/weir.yaml here; run it from the project\n",
                 options.example.c_str());
    return kExitFailed;
  }
  MockProcess mock;
  const std::string mock_url = mock.Start(options.mock_log);
  if (mock_url.empty()) {
    std::fprintf(stderr, "weir: the mock upstream did not start\n");
    return kExitFailed;
  }
  const TemporaryDirectory data;
  if (data.path().empty()) {
    std::fprintf(stderr, "weir: cannot make a temporary directory; set TMPDIR\n");
    return kExitFailed;
  }
  const auto load = [&]() -> std::optional<config::Config> {
    auto config = LoadConfig(*file, [&](std::string_view name) -> std::optional<std::string> {
      if (name == "WEIR_UPSTREAM_URL") return mock_url + "/v1";
      return EnvironmentVariable(name);
    });
    if (!config) return std::nullopt;
    config->data_dir = data.path();
    config->listen = {"127.0.0.1", 0};
    config->admin = {"127.0.0.1", 0};
    return config;
  };
  auto config = load();
  if (!config) return kExitFailed;
  const config::Config shown = *config;
  return RunGateway(
      std::move(*config),
      [&](const Ready& ready) { PrintReady(ready, shown, mock_url, options.json); }, load);
}

}  // namespace weir::cli
