// The command line: one file per subcommand, each of which adds itself to the app. main.cc calls
// RunCli and nothing else.
#pragma once

#include <memory>

namespace CLI {  // NOLINT(readability-identifier-naming): the library's name
class App;
}

namespace weir::cli {

// Exit codes: 0 done, 1 it went wrong (one sentence on stderr), 2 the command line is wrong.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

int RunCli(int argc, char** argv);

// The whole command line, for tests and for shell completion. `exit_code` outlives it.
std::unique_ptr<CLI::App> MakeApp(int& exit_code);

}  // namespace weir::cli
