// `weir serve` and what it shares with `weir demo`: load a configuration, start the server, mount
// the admin API, say how to use it, serve until a signal.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/secret.h"
#include "config/config.h"
#include "config/parse.h"
#include "server/server.h"

namespace weir::cli {

struct ServeOptions {
  std::string config_file;  // empty: the embedded default, or OpenAI when OPENAI_API_KEY is set
  std::string data_dir;     // not empty: instead of the configuration's
  std::string listen;       // "host:port", not empty: instead of the configuration's
  std::string admin_listen;
  bool quiet = false;                     // no banner
  std::int64_t ballast_bytes = 64 << 20;  // see ServerOptions
  std::string crash_at;                   // not empty: a point of server/crash_point.h, "NAME[:N]"
};

// How a started gateway can be reached, with every secret that was made now.
struct Ready {
  std::string base_url;  // http://127.0.0.1:8080
  std::string admin_url;
  Secret admin_token;
  bool admin_token_is_new = false;
  struct Key {
    std::string name;
    Secret secret;
  };
  std::vector<Key> keys;
};

// Starts, calls `ready` once, serves until SIGTERM. Returns the exit code; a bad start prints one
// sentence on stderr.
//   reload   makes the next configuration on SIGHUP, or none (it has said why)
int RunGateway(config::Config config, const std::function<void(const Ready&)>& ready,
               const std::function<std::optional<config::Config>()>& reload,
               server::ServerOptions options = {});

int RunServe(const ServeOptions& options);

// The configuration of a file, or of the defaults when `file` is empty. Prints every problem.
std::optional<config::Config> LoadConfig(const std::string& file, const config::EnvLookup& env);

// The files that a configuration names: beside it, unless their path is absolute.
config::FileLookup FilesBeside(const std::string& file);

// A file whole, or its first bytes_max + 1 bytes, so that a parser refuses what is longer; none
// when it cannot be read.
std::optional<std::string> ReadUpTo(const std::string& file, std::size_t bytes_max);

// A variable of this process's environment.
std::optional<std::string> EnvironmentVariable(std::string_view name);

}  // namespace weir::cli
