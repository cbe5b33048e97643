// `weir policy counters [ID]`: how the counters of policies stand in a running gateway.

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>

#include "cli/admin_call.h"
#include "cli/cli.h"
#include "cli/commands.h"

namespace weir::cli {

namespace json = boost::json;

namespace {

struct Options : Connection {
  std::string id;
  std::int64_t limit = 50;
  std::string cursor;
};

int Run(const Options& options) {
  std::string path =
      options.id.empty() ? "/admin/v1/quotas" : "/admin/v1/policies/" + options.id + "/counters";
  path += "?limit=" + std::to_string(options.limit);
  if (!options.cursor.empty()) path += "&cursor=" + options.cursor;
  const auto page = Ask(options, "GET", path);
  if (!page) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*page).c_str());
    return kExitDone;
  }
  const auto* object = page->if_object();
  const auto* data = object == nullptr ? nullptr : object->if_contains("data");
  if (data == nullptr || !data->is_array()) return kExitFailed;
  std::printf("%-28s  %-32s  %-16s  %14s  %14s  %12s  %14s  %s\n", "POLICY", "COUNTER", "UNIT",
              "LIMIT", "USED", "HELD", "REMAINING", "UNTIL");
  for (const json::value& counter : data->get_array()) {
    const std::string values = Text(counter, "counter");
    std::printf("%-28s  %-32s  %-16s  %14s  %14s  %12s  %14s  %s\n",
                Text(counter, "policy").c_str(), values.empty() ? "(all)" : values.c_str(),
                Text(counter, "unit").c_str(), Text(counter, "limit").c_str(),
                Text(counter, "settled").c_str(), Text(counter, "held").c_str(),
                Text(counter, "remaining").c_str(), Text(counter, "ends_at").c_str());
  }
  if (Text(*page, "next_cursor") != "-") {
    std::printf("more: --cursor %s\n", Text(*page, "next_cursor").c_str());
  }
  return kExitDone;
}

}  // namespace

void AddPolicyCounters(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* command =
      PolicyCommand(app).add_subcommand("counters", "How much of each policy is used and held now");
  command->add_option("id", options->id, "Of one policy (default: of all)")
      ->type_name("ID")
      ->check([](const std::string& text) {
        return text.find_first_not_of(
                   "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                   "0123456789._-") == std::string::npos
                   ? std::string()
                   : std::string("letters, digits and . _ - only");
      });
  command->add_option("--limit", options->limit, "Counters on a page")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_option("--cursor", options->cursor, "Where the page before ended")
      ->check(CLI::NonNegativeNumber)
      ->type_name("CURSOR");
  AddConnection(*command, *options);
  command->callback([options, &exit_code] { exit_code = Run(*options); });
}

}  // namespace weir::cli
