// Shell completion, made from the app itself, so that a new option completes without more work.
#pragma once

#include <string>

namespace CLI {  // NOLINT(readability-identifier-naming): the library's name
class App;
}

namespace weir::cli {

// Scripts to be sourced by the shell. They complete subcommands, options and file names.
std::string BashCompletion(const CLI::App& app);
std::string ZshCompletion(const CLI::App& app);
std::string FishCompletion(const CLI::App& app);

}  // namespace weir::cli
