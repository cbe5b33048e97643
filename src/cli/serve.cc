#include "cli/serve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "admin/admin_listener.h"
#include "admin/token.h"
#include "base/version.h"
#include "cli/cli.h"
#include "config/defaults.h"
#include "server/server.h"
#include "store/time_zones.h"

namespace weir::cli {
namespace {

// "host:port", with or without brackets around an IPv6 address.
bool ParseListen(const std::string& text, config::Listen& listen) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  std::string host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  char* end = nullptr;
  const long port = std::strtol(text.c_str() + colon + 1, &end, 10);
  if (end == text.c_str() + colon + 1 || *end != '\0' || port < 0 || port > 65535) return false;
  listen.host = host.empty() ? "127.0.0.1" : host;
  listen.port = static_cast<std::uint16_t>(port);
  return true;
}

std::string Url(const config::Listen& listen, std::uint16_t port) {
  // An address that means "all" is no address to call.
  std::string host = listen.host == "0.0.0.0" || listen.host == "::" ? "127.0.0.1" : listen.host;
  if (host.find(':') != std::string::npos) host = "[" + host + "]";
  return "http://" + host + ":" + std::to_string(port);
}

// The key a first `weir serve` without a file makes, kept readable by its owner so that every
// start can print a line that works. Only for the sandbox: nothing can be spent with it.
constexpr const char* kSandboxKeyFile = "sandbox-key";

std::string ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

void WritePrivateFile(const std::string& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return;
  if (::write(fd, text.data(), text.size()) < 0) std::perror(path.c_str());
  ::close(fd);
}

void PrintBanner(const Ready& ready, const config::Config& config) {
  const std::string& model = config.models.empty() ? "MODEL" : config.models.front().id;
  std::printf("\n  %s is ready\n\n", config.brand.name.c_str());
  std::printf("  gateway    %s/v1\n", ready.base_url.c_str());
  std::printf("  dashboard  %s/\n", ready.admin_url.c_str());
  if (ready.admin_token_is_new) {
    std::printf("  admin token (shown once, kept in %s/%s)\n             %s\n",
                config.data_dir.c_str(), std::string(admin::kTokenFile).c_str(),
                std::string(ready.admin_token.Reveal()).c_str());
  }
  for (const auto& key : ready.keys) {
    std::printf("  key %-6s %s\n", key.name.c_str(), std::string(key.secret.Reveal()).c_str());
  }
  if (!ready.keys.empty()) {
    std::printf(
        "\n  curl %s/v1/responses -H 'Authorization: Bearer %s' "
        "-H 'Content-Type: application/json' "
        "-d '{\"model\": \"%s\", \"input\": \"Reply with only: Weir is connected.\"}'\n",
        ready.base_url.c_str(), std::string(ready.keys.front().secret.Reveal()).c_str(),
        model.c_str());
  } else {
    std::printf("\n  make a key: weir keys create --name first\n");
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

std::optional<std::string> EnvironmentVariable(std::string_view name) {
  const char* value = std::getenv(std::string(name).c_str());
  if (value == nullptr) return std::nullopt;
  return std::string(value);
}

config::FileLookup FilesBeside(const std::string& file) {
  return [folder = std::filesystem::path(file).parent_path()](
             std::string_view name) -> std::optional<std::string> {
    return ReadUpTo((folder / name).string(), config::kPriceFileBytesMax);
  };
}

std::optional<std::string> ReadUpTo(const std::string& file, std::size_t bytes_max) {
  std::ifstream in(file, std::ios::binary);
  if (!in.is_open()) return std::nullopt;
  // One byte more than is allowed is enough for a parser to refuse it.
  std::string text(bytes_max + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad()) return std::nullopt;
  text.resize(static_cast<std::size_t>(in.gcount()));
  return text;
}

std::optional<config::Config> LoadConfig(const std::string& file, const config::EnvLookup& env) {
  if (file.empty()) {
    if (const auto key = env("OPENAI_API_KEY"); key && !key->empty()) {
      return config::OpenAiDefault(Secret(*key));
    }
    return config::EmbeddedDefault();
  }
  if (::access(file.c_str(), R_OK) != 0) {
    std::fprintf(stderr, "weir: cannot read %s; name a configuration file with --config\n",
                 file.c_str());
    return std::nullopt;
  }
  auto parsed = config::ParseConfig(ReadFile(file), file, env, FilesBeside(file), store::FindZone);
  if (parsed) return std::move(*parsed);
  for (const auto& error : parsed.error()) {
    std::fprintf(stderr, "%s\n", config::FormatConfigError(error).c_str());
  }
  return std::nullopt;
}

int RunGateway(config::Config config, const std::function<void(const Ready&)>& ready,
               const std::function<std::optional<config::Config>()>& reload,
               server::ServerOptions options) {
  server::Server::BlockSignals();
  options.config = std::move(config);
  options.version = kVersion;
  options.page = admin::PublicPage;
  if (const auto pepper = EnvironmentVariable("WEIR_KEY_PEPPER"); pepper && !pepper->empty()) {
    options.pepper = Secret(*pepper);
  }
  if (const auto key = EnvironmentVariable("WEIR_MASTER_KEY"); key && !key->empty()) {
    options.master_key = Secret(*key);
  }
  auto started = server::Server::Start(std::move(options));
  if (!started) {
    std::fprintf(stderr, "weir: %s\n", started.error().detail.c_str());
    return kExitFailed;
  }
  server::Server& server = **started;
  const std::string data_dir = server.config()->data_dir;
  auto token = admin::LoadOrCreateToken(data_dir);
  if (!token) {
    std::fprintf(stderr, "weir: %s\n", token.error().detail.c_str());
    return kExitFailed;
  }
  const auto listener = admin::MakeAdminListener(server, admin::HashToken(token->token.Reveal()));
  if (const auto port = server.StartAdmin(*listener); !port) {
    std::fprintf(stderr, "weir: %s\n", port.error().detail.c_str());
    return kExitFailed;
  }
  if (const auto listening = server.Listen(); !listening) {
    std::fprintf(stderr, "weir: %s\n", listening.error().detail.c_str());
    return kExitFailed;
  }

  Ready how;
  how.base_url = Url(server.config()->listen, server.port());
  how.admin_url = Url(server.config()->admin, server.admin_port());
  // The command line finds a running gateway by this.
  WritePrivateFile(data_dir + "/admin-url", how.admin_url);
  how.admin_token = token->token;
  how.admin_token_is_new = token->created;
  for (const auto& made : server.first_secrets()) how.keys.push_back({made.name, made.secret});
  server.log().Write(telemetry::Level::kInfo, "listening",
                     {{"url", how.base_url}, {"admin_url", how.admin_url}, {"version", kVersion}});
  ready(how);
  server.WaitForSignal([&] {
    auto next = reload();
    if (!next) {
      server.log().Write(telemetry::Level::kError, "reload refused, nothing has changed");
      return;
    }
    const auto changes = server.Reload(std::move(*next));
    if (changes) {
      server.log().Write(telemetry::Level::kInfo, "reloaded", {{"changes", *changes}});
    } else {
      server.log().Write(telemetry::Level::kError, "reload refused, nothing has changed",
                         {{"reason", changes.error().detail}});
    }
  });
  return kExitDone;
}

int RunServe(const ServeOptions& options) {
  server::ServerOptions server_options;
  server_options.ballast_bytes = options.ballast_bytes;
  if (!options.crash_at.empty() &&
      !(server_options.crash = server::ParseCrashPlan(options.crash_at))) {
    std::fprintf(stderr, "weir: --crash-at takes NAME[:N]; src/server/crash_point.h lists names\n");
    return kExitUsage;
  }
  const auto load = [&options]() -> std::optional<config::Config> {
    auto config = LoadConfig(options.config_file, EnvironmentVariable);
    if (!config) return std::nullopt;
    if (!options.data_dir.empty()) config->data_dir = options.data_dir;
    if (!options.listen.empty() && !ParseListen(options.listen, config->listen)) {
      std::fprintf(stderr, "weir: --listen takes HOST:PORT, for example 127.0.0.1:8080\n");
      return std::nullopt;
    }
    if (!options.admin_listen.empty() && !ParseListen(options.admin_listen, config->admin)) {
      std::fprintf(stderr, "weir: --admin-listen takes HOST:PORT, for example 127.0.0.1:8081\n");
      return std::nullopt;
    }
    return config;
  };
  auto config = load();
  if (!config) return kExitFailed;

  // Without a file there is nobody who could have named a key, so one is made.
  const std::string key_file = config->data_dir + "/" + kSandboxKeyFile;
  bool sandbox_only = options.config_file.empty();
  for (const auto& upstream : config->upstreams) {
    sandbox_only = sandbox_only && upstream.kind == config::UpstreamKind::kSandbox;
  }
  const auto add_first_key = [&](config::Config& to) {
    if (!options.config_file.empty() || !to.keys.empty()) return;
    // A key of the sandbox must not become a key that spends money when OPENAI_API_KEY is set the
    // next time: it has a name and an environment of its own.
    to.keys.push_back({.name = sandbox_only ? "sandbox" : "first", .limits = to.key_defaults});
  };
  add_first_key(*config);
  const config::Config banner_config = *config;
  return RunGateway(
      std::move(*config),
      [&](const Ready& made) {
        Ready ready = made;
        if (sandbox_only) {
          if (!ready.keys.empty()) {
            WritePrivateFile(key_file, ready.keys.front().secret.Reveal());
          } else if (std::string kept = ReadFile(key_file); !kept.empty()) {
            ready.keys.push_back({"sandbox", Secret(std::move(kept))});
          }
        }
        if (!options.quiet) PrintBanner(ready, banner_config);
      },
      [&]() -> std::optional<config::Config> {
        auto next = load();
        if (next) add_first_key(*next);
        return next;
      },
      std::move(server_options));
}

}  // namespace weir::cli
