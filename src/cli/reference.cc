// `weir reference PAGE`: the pages of docs/reference, made from the tables the program runs on.

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <string>

#include "admin/public_docs.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "config/options.h"

namespace weir::cli {

void AddReference(CLI::App& app, int& exit_code) {
  const auto page = std::make_shared<std::string>();
  CLI::App* command =
      app.add_subcommand("reference", "Print a generated page of the documentation (Markdown)");
  command->add_option("page", *page, "Which page")
      ->required()
      ->check(CLI::IsMember({"options", "errors", "metrics", "openapi"}));
  command->callback([page, &exit_code] {
    exit_code = kExitDone;
    std::string text;
    if (*page == "options") text = config::OptionsReferenceMarkdown();
    if (*page == "errors") text = admin::ErrorsReferenceMarkdown();
    if (*page == "metrics") text = admin::MetricsReferenceMarkdown();
    if (*page == "openapi") text = admin::OpenApiYaml();
    std::fwrite(text.data(), 1, text.size(), stdout);
  });
}

}  // namespace weir::cli
