// `weir version`: what runs, and with which SQLite the ledger is written.

#include "base/version.h"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "admin/json_writer.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "store/sqlite_journal.h"

namespace weir::cli {

void AddVersion(CLI::App& app, int& exit_code) {
  const auto as_json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("version", "Print the version");
  command->add_flag("--json", *as_json, "Print it as one JSON object");
  command->callback([as_json, &exit_code] {
    exit_code = kExitDone;
    if (!*as_json) {
      std::printf("weir %s (sqlite %s)\n", kVersion, store::SqliteJournal::SqliteVersion());
      return;
    }
    admin::JsonWriter json;
    json.Open('{')
        .Text("version", kVersion)
        .Text("sqlite", store::SqliteJournal::SqliteVersion())
        .Text("compiler", __VERSION__)
        .Close('}');
    std::printf("%s\n", json.Take().c_str());
  });
}

}  // namespace weir::cli
