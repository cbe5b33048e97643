// The command line: one file per subcommand, each of which adds itself to the app. main.cc calls
// RunCli and nothing else.
#pragma once

namespace weir::cli {

// Exit codes: 0 done, 1 it went wrong (one sentence on stderr), 2 the command line is wrong.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

int RunCli(int argc, char** argv);

}  // namespace weir::cli
