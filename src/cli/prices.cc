// `weir prices ...`: price lists of others as price files, what a configuration charges, what
// changed between two files, and what the past would have cost. None of it asks a running gateway,
// and none changes what is booked.

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "admin/json_writer.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/serve.h"
#include "config/parse.h"
#include "config/price_text.h"
#include "config/scalar.h"
#include "prices/import.h"
#include "prices/json_tree.h"
#include "prices/rerate.h"
#include "store/request_log.h"

namespace weir::cli {
namespace {

constexpr std::size_t kNotesShown = 20;

struct Options {
  // import
  std::string file;
  std::string format;
  std::string only;
  std::string out;
  bool verbose = false;
  // show, rerate
  std::string config;
  std::string model;
  // diff
  std::string before;
  std::string after;
  // rerate
  std::string data_dir;
  std::string since = "30d";
  bool dry_run = false;
  bool json = false;
};

// What a file of somebody else says, on a terminal: nothing that moves its cursor.
std::string Plain(std::string_view text) {
  std::string plain(text.substr(0, 256));
  for (char& c : plain) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  return plain;
}

Instant Now() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return {static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec};
}

// Whole or not at all: a gateway may read it at any moment.
bool WriteWhole(const std::string& path, const std::string& text) {
  const std::string beside = path + ".new";
  {
    std::ofstream out(beside, std::ios::binary | std::ios::trunc);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    out.close();
    if (!out) {
      ::unlink(beside.c_str());
      return false;
    }
  }
  return std::rename(beside.c_str(), path.c_str()) == 0;
}

void PrintNotes(std::string_view title, const std::vector<prices::Note>& notes, bool all) {
  if (notes.empty()) return;
  std::printf("%s:\n", std::string(title).c_str());
  const std::size_t shown = all ? notes.size() : std::min(notes.size(), kNotesShown);
  for (std::size_t i = 0; i < shown; ++i) {
    std::printf("  %s: %s\n", Plain(notes[i].model).c_str(), Plain(notes[i].what).c_str());
  }
  if (shown < notes.size()) {
    std::printf("  and %zu more; --verbose lists them\n", notes.size() - shown);
  }
}

void PrintCounts(std::string_view title, const std::map<std::string, std::size_t>& counts,
                 bool all) {
  if (counts.empty()) return;
  std::printf("%s:\n", std::string(title).c_str());
  std::size_t shown = 0;
  for (const auto& [field, count] : counts) {
    if (!all && shown++ == kNotesShown) {
      std::printf("  and %zu more; --verbose lists them\n", counts.size() - kNotesShown);
      break;
    }
    std::printf("  %s (%zu)\n", Plain(field).c_str(), count);
  }
}

int RunImport(const Options& options) {
  const auto text = ReadUpTo(options.file, prices::kJsonBytesMax);
  if (!text) {
    PrintError("cannot read " + options.file + "; name a file with a price list");
    return kExitFailed;
  }
  std::optional<prices::Format> format;
  if (options.format == "litellm") format = prices::Format::kLiteLlm;
  if (options.format == "models.dev") format = prices::Format::kModelsDev;
  const auto import = prices::ImportPrices(*text, format, options.only);
  if (!import) {
    PrintError(options.file + " " + import.error());
    return kExitFailed;
  }
  const std::string_view source =
      import->format == prices::Format::kLiteLlm ? "LiteLLM" : "models.dev";
  const std::string file = config::PriceFileText(
      import->catalog, fmt::format("Written by weir prices import, from a list of {}.\n"
                                   "Check the prices you bill by against the provider's page.",
                                   source));
  // What we write we can read: a file that a start would refuse is no use.
  if (file.size() > config::kPriceFileBytesMax || !config::ParsePriceFile(file, options.out)) {
    PrintError("the list is too long for a price file; take a part of it with --only");
    return kExitFailed;
  }
  if (options.out == "-") {
    std::fwrite(file.data(), 1, file.size(), stdout);
    return kExitDone;
  }
  if (!WriteWhole(options.out, file)) {
    PrintError("cannot write " + options.out + "; check the path and its permissions");
    return kExitFailed;
  }
  std::printf("%s: %zu prices from %s\n", options.out.c_str(), import->catalog.entries().size(),
              std::string(source).c_str());
  if (import->unpriced > 0) std::printf("%zu entries have no price\n", import->unpriced);
  if (import->filtered > 0) std::printf("%zu entries are not of --only\n", import->filtered);
  PrintNotes("left out", import->refused, options.verbose);
  PrintNotes("dearer than listed", import->raised, options.verbose);
  PrintCounts("prices that have no place here, and in how many entries", import->not_taken,
              options.verbose);
  PrintCounts("fields that are not known, and in how many entries", import->unknown,
              options.verbose);
  return kExitDone;
}

void WriteVersion(const config::PriceVersion& version, bool in_force, admin::JsonWriter& json) {
  json.Open('{')
      .Text("price", config::PriceText(version.price))
      .Number("version", version.price.version)
      .Text("id", config::Format(version.id))
      .Time("valid_from", version.valid_from)
      .Flag("in_force", in_force)
      .Close('}');
}

int RunShow(const Options& options) {
  const auto config = LoadConfig(options.config, EnvironmentVariable);
  if (!config) return kExitFailed;
  const Instant now = Now();
  admin::JsonWriter json;
  json.Open('{').Open("models", '[');
  const auto show = [&](const std::string& name, const config::Model& model) {
    const config::PriceVersion* in_force = config->PriceOf(model, name, now);
    json.Open('{').Text("model", name).Open("prices", '[');
    std::vector<config::PriceVersion> versions(model.price.versions().begin(),
                                               model.price.versions().end());
    // Of the catalog or its ceiling.
    if (versions.empty() && in_force != nullptr) versions = {*in_force};
    for (const config::PriceVersion& version : versions) {
      const bool is_now = in_force != nullptr && version.id == in_force->id &&
                          version.valid_from == in_force->valid_from;
      WriteVersion(version, is_now, json);
      if (options.json) continue;
      std::printf(
          "%s %s version %u%s%s\n", name.c_str(), config::PriceText(version.price).c_str(),
          version.price.version,
          version.valid_from ? (" from " + config::FormatTime(*version.valid_from)).c_str() : "",
          is_now ? "" : " (not in force)");
    }
    if (!options.json && versions.empty()) {
      std::printf("%s %s\n", name.c_str(),
                  model.price_by_name ? "by the catalog, as callers name it"
                                      : "has no price and is not served");
    }
    json.Close(']').Close('}');
  };
  if (options.model.empty()) {
    for (const config::Model& model : config->models) show(model.id, model);
  } else {
    const config::Model* model = config->FindModel(options.model);
    if (model == nullptr) {
      PrintError("no model takes the name " + Plain(options.model) +
                 "; weir prices show lists them");
      return kExitFailed;
    }
    show(options.model, *model);
  }
  json.Close(']').Close('}');
  if (options.json) std::printf("%s\n", json.Take().c_str());
  return kExitDone;
}

std::optional<config::PriceCatalog> LoadPrices(const std::string& file) {
  const auto text = ReadUpTo(file, config::kPriceFileBytesMax);
  if (!text) {
    PrintError("cannot read " + file + "; name a price file");
    return std::nullopt;
  }
  auto catalog = config::ParsePriceFile(*text, file);
  if (catalog) return *std::move(catalog);
  for (const auto& error : catalog.error()) {
    std::fprintf(stderr, "%s\n", config::FormatConfigError(error).c_str());
  }
  return std::nullopt;
}

int RunDiff(const Options& options) {
  const auto before = LoadPrices(options.before);
  const auto after = LoadPrices(options.after);
  if (!before || !after) return kExitFailed;
  std::size_t added = 0;
  std::size_t removed = 0;
  std::size_t changed = 0;
  for (const auto& [model, prices] : before->entries()) {
    if (after->Find(model) != nullptr) continue;
    ++removed;
    std::printf("- %s: %s\n", model.c_str(), config::PriceListText(prices).c_str());
  }
  for (const auto& [model, prices] : after->entries()) {
    const config::PriceList* old = before->Find(model);
    if (old == nullptr) {
      ++added;
      std::printf("+ %s: %s\n", model.c_str(), config::PriceListText(prices).c_str());
    } else if (!(*old == prices)) {
      ++changed;
      std::printf("~ %s: %s\n  %*s  %s\n", model.c_str(), config::PriceListText(*old).c_str(),
                  static_cast<int>(std::min<std::size_t>(model.size(), 256)), "->",
                  config::PriceListText(prices).c_str());
    }
  }
  std::printf("%zu added, %zu removed, %zu changed\n", added, removed, changed);
  return kExitDone;
}

// "30d", "12h", "90m"; none when it is no time.
std::optional<Duration> ParseSince(std::string_view text) {
  constexpr std::int64_t kDaysMax = 36'500;
  if (!text.ends_with('d')) return config::ParseDuration(text);
  const auto days = config::ParseCount(text.substr(0, text.size() - 1));
  if (!days || *days < 0 || *days > kDaysMax) return std::nullopt;
  return Seconds(*days * 86'400);
}

int RunRerate(const Options& options) {
  if (!options.dry_run) {
    PrintError("what was booked stays booked; say --dry-run to see what it would be now");
    return kExitUsage;
  }
  const auto since = ParseSince(options.since);
  if (!since) {
    PrintError("--since is a time, such as 30d, 12h or 90m");
    return kExitUsage;
  }
  const auto config = LoadConfig(options.config, EnvironmentVariable);
  if (!config) return kExitFailed;
  const std::string path =
      (options.data_dir.empty() ? config->data_dir : options.data_dir) + "/requests.db";
  // Opening makes a file that is not there.
  if (::access(path.c_str(), R_OK) != 0) {
    PrintError("cannot read " + path + "; name the data directory with --data-dir");
    return kExitFailed;
  }
  auto log = store::RequestLog::Open(path);
  if (!log) {
    PrintError(log.error().detail);
    return kExitFailed;
  }
  const Instant now = Now();
  const Instant first{now.ns - since->ns};
  prices::Rerate rerate;
  store::RequestQuery query;
  query.limit = 1000;
  for (bool more = true; more;) {
    const auto page = (*log)->List(query);
    if (!page) {
      PrintError(page.error().detail);
      return kExitFailed;
    }
    more = page->size() == static_cast<std::size_t>(query.limit);
    for (const telemetry::ExchangeRecord& record : *page) {
      query.after = record.request;
      // Ids begin with their time, so what follows is older.
      if (record.started_at < first) {
        more = false;
        break;
      }
      const config::Model* model = config->FindModel(record.model);
      const config::PriceVersion* price =
          model == nullptr ? nullptr : config->PriceOf(*model, record.model, now);
      rerate.Add(record.model, record.usage, {record.charged.n + record.overrun.n},
                 price == nullptr ? nullptr : &price->price);
    }
  }
  admin::JsonWriter json;
  json.Open('{').Open("models", '[');
  const auto line = [&](const std::string& name, const prices::Rerated& rerated) {
    json.Number("requests", rerated.requests)
        .Number("changed_requests", rerated.changed_requests)
        .Number("unpriced_requests", rerated.unpriced_requests)
        .Text("booked_usd", prices::FormatSum(rerated.booked))
        .Text("now_usd", prices::FormatSum(rerated.now))
        .Text("difference_usd", prices::FormatSum(rerated.difference()));
    if (options.json) return;
    std::printf(
        "%s: %lld requests, %lld would differ: booked %s USD, now %s USD, difference %s USD",
        Plain(name).c_str(), static_cast<long long>(rerated.requests),
        static_cast<long long>(rerated.changed_requests), prices::FormatSum(rerated.booked).c_str(),
        prices::FormatSum(rerated.now).c_str(), prices::FormatSum(rerated.difference()).c_str());
    if (rerated.unpriced_requests > 0) {
      std::printf("; %lld more have no price now",
                  static_cast<long long>(rerated.unpriced_requests));
    }
    std::printf("\n");
  };
  for (const auto& [model, rerated] : rerate.models()) {
    json.Open('{').Text("model", model);
    line(model, rerated);
    json.Close('}');
  }
  json.Close(']').Open("total", '{');
  line("total", rerate.total());
  json.Close('}').Close('}');
  if (options.json) std::printf("%s\n", json.Take().c_str());
  return kExitDone;
}

}  // namespace

void AddPrices(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* prices = app.add_subcommand("prices", "Price lists, and what models cost");
  prices->require_subcommand(1);

  CLI::App* import =
      prices->add_subcommand("import", "Make a price file of LiteLLM's or models.dev's price list");
  import->add_option("file", options->file, "model_prices_and_context_window.json or api.json")
      ->type_name("FILE")
      ->required();
  import->add_option("--format", options->format, "Whose list it is (default: told by its shape)")
      ->check(CLI::IsMember({"litellm", "models.dev"}));
  import
      ->add_option("--only", options->only,
                   "Names to take; * stands for any characters and ? for one")
      ->type_name("PATTERN");
  import->add_option("--out", options->out, "Where to write the price file; - prints it")
      ->type_name("FILE")
      ->required();
  import->add_flag("--verbose", options->verbose, "List everything that was left out or changed");
  import->callback([options, &exit_code] { exit_code = RunImport(*options); });

  CLI::App* show = prices->add_subcommand("show", "What the models of a configuration cost");
  show->add_option("model", options->model, "As a caller names it (default: all of the file)")
      ->type_name("MODEL");
  show->add_option("--config", options->config, "Configuration file (YAML)")->type_name("FILE");
  show->add_flag("--json", options->json, "Print JSON");
  show->callback([options, &exit_code] { exit_code = RunShow(*options); });

  CLI::App* diff = prices->add_subcommand("diff", "What differs between two price files");
  diff->add_option("old", options->before, "A price file")->type_name("FILE")->required();
  diff->add_option("new", options->after, "The price file to compare with it")
      ->type_name("FILE")
      ->required();
  diff->callback([options, &exit_code] { exit_code = RunDiff(*options); });

  CLI::App* rerate = prices->add_subcommand(
      "rerate", "What logged requests would have cost at the prices in force now");
  rerate->add_flag("--dry-run", options->dry_run, "Required: nothing that is booked is changed");
  rerate->add_option("--since", options->since, "How far back to look: 30d, 12h, 90m")
      ->type_name("TIME")
      ->capture_default_str();
  rerate->add_option("--config", options->config, "Configuration file (YAML)")->type_name("FILE");
  rerate->add_option("--data-dir", options->data_dir, "Instead of the file's data_dir")
      ->type_name("DIR");
  rerate->add_flag("--json", options->json, "Print JSON");
  rerate->callback([options, &exit_code] { exit_code = RunRerate(*options); });
}

}  // namespace weir::cli
