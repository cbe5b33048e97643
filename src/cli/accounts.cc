// `weir accounts ...`: the operator's credentials at upstreams, from a shell. All but reseal ask
// the admin API of a running gateway.
//
// A credential is read from an environment variable or from standard input and never from an
// argument, which other users of the machine can read.

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cstdio>
#include <ctime>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cli/admin_call.h"
#include "cli/cli.h"
#include "cli/commands.h"
#include "cli/serve.h"
#include "store/account_store.h"

namespace weir::cli {

namespace json = boost::json;

namespace {

constexpr std::size_t kCredentialBytesMax = 4096;

struct Options : Connection {
  std::string account;  // id
  // create, update
  std::string upstream;
  std::string name;
  std::string key_env;
  bool key_stdin = false;
  bool no_key = false;
  std::vector<std::string> models;
  std::vector<std::string> capabilities;
  std::vector<std::string> reserved_for;
  std::int64_t weight = -1;
  std::int64_t priority = -1;
  std::int64_t concurrency = -1;
  std::int64_t requests_per_minute = -1;
  std::int64_t tokens_per_minute = -1;
  std::string expires_at;
  std::string profile;
  std::string proxy;
  bool enable = false;
  bool disable = false;
  // list
  std::string source;
  std::int64_t limit = 50;
  std::string cursor;
  // cool
  std::int64_t seconds = 60;
  // reseal
  std::string old_key_file;
};

// Sets the credential in `body`, if one of the options says where it is. False when it cannot be
// read, which is then printed.
bool ReadCredential(const Options& options, json::object& body) {
  if (options.no_key) {
    body["api_key"] = nullptr;
    return true;
  }
  std::string text;
  if (options.key_stdin) {
    std::getline(std::cin, text);
  } else if (!options.key_env.empty()) {
    text = EnvironmentVariable(options.key_env).value_or("");
  } else {
    return true;
  }
  while (!text.empty() && (text.back() == '\r' || text.back() == '\n')) text.pop_back();
  if (text.empty() || text.size() > kCredentialBytesMax) {
    PrintError(options.key_stdin
                   ? "there is no credential on standard input; write it as one line"
                   : "the environment variable " + options.key_env + " holds no credential");
    return false;
  }
  body["api_key"] = text;
  return true;
}

// As a part of a path or of a query: "openai%2Fteam-a".
std::string Escaped(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_' || c == '-';
    if (plain) {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += {'%', kHex[byte >> 4], kHex[byte & 15]};
    }
  }
  return out;
}

std::string Target(const Options& options) {
  return "/admin/v1/accounts/" + Escaped(options.account);
}

// The members that creating and changing share.
bool WriteTerms(const Options& options, json::object& body) {
  if (!ReadCredential(options, body)) return false;
  if (!options.models.empty()) {
    if (options.models.front() == "all") {
      body["models"] = nullptr;
    } else {
      body["models"] = Texts(options.models);
    }
  }
  if (!options.capabilities.empty()) body["capabilities"] = Texts(options.capabilities);
  if (!options.reserved_for.empty()) {
    body["reserved_for"] =
        options.reserved_for.front() == "nobody" ? json::array() : Texts(options.reserved_for);
  }
  const auto count = [&](const char* name, std::int64_t value) {
    if (value >= 0) body[name] = value;
  };
  count("weight", options.weight);
  count("priority", options.priority);
  count("concurrency", options.concurrency);
  count("requests_per_minute", options.requests_per_minute);
  count("tokens_per_minute", options.tokens_per_minute);
  const auto text = [&](const char* name, const std::string& value) {
    if (value == "none") {
      body[name] = nullptr;
    } else if (!value.empty()) {
      body[name] = value;
    }
  };
  text("expires_at", options.expires_at);
  text("profile", options.profile);
  text("proxy", options.proxy);
  if (options.enable) body["enabled"] = true;
  if (options.disable) body["enabled"] = false;
  return true;
}

const json::value* Member(const json::value& value, std::string_view name) {
  const auto* object = value.if_object();
  return object == nullptr ? nullptr : object->if_contains(name);
}

std::string StateText(const json::value& account) {
  if (Text(account, "in_force") != "true") return "not in force";
  if (Text(account, "enabled") != "true") return "disabled";
  if (Text(account, "draining") == "true") return "draining";
  const json::value* state = Member(account, "state");
  if (state == nullptr) return "-";
  std::string text = Text(*state, "fitness");
  if (text == "resting") {
    text += " " + Text(*state, "rests_for_seconds") + "s";
    const std::string why = Text(*state, "why");
    if (why != "-") text += " (" + why + ")";
  }
  return text;
}

void PrintHead() {
  std::printf("%-32s  %-6s  %-28s  %8s  %8s  %8s  %6s\n", "ID", "SOURCE", "STATE", "ACTIVE",
              "SERVED", "FAILED", "KEY");
}

void PrintLine(const json::value& account) {
  const json::value none;
  const json::value* state = Member(account, "state");
  const json::value& shown = state == nullptr ? none : *state;
  std::printf("%-32s  %-6s  %-28s  %8s  %8s  %8s  %6s\n", Text(account, "id").c_str(),
              Text(account, "source").c_str(), StateText(account).c_str(),
              Text(shown, "in_flight").c_str(), Text(shown, "served").c_str(),
              Text(shown, "failed").c_str(), Text(account, "api_key_ends_in").c_str());
}

int PrintAccount(const Options& options, const std::optional<json::value>& account) {
  if (!account) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*account).c_str());
  } else {
    PrintHead();
    PrintLine(*account);
  }
  return kExitDone;
}

int List(const Options& options) {
  std::string target = "/admin/v1/accounts?limit=" + std::to_string(options.limit);
  if (!options.source.empty()) target += "&source=" + options.source;
  if (!options.upstream.empty()) target += "&upstream=" + Escaped(options.upstream);
  if (!options.cursor.empty()) target += "&cursor=" + Escaped(options.cursor);
  const auto page = Ask(options, "GET", target);
  if (!page) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*page).c_str());
    return kExitDone;
  }
  const json::value* data = Member(*page, "data");
  if (data == nullptr || !data->is_array()) return kExitFailed;
  PrintHead();
  for (const json::value& account : data->get_array()) PrintLine(account);
  if (Text(*page, "next_cursor") != "-") {
    std::printf("more: --cursor %s\n", Text(*page, "next_cursor").c_str());
  }
  return kExitDone;
}

int Create(const Options& options) {
  json::object body;
  body["upstream"] = options.upstream;
  body["name"] = options.name;
  if (!WriteTerms(options, body)) return kExitFailed;
  return PrintAccount(options, Ask(options, "POST", "/admin/v1/accounts", json::serialize(body)));
}

int Update(const Options& options) {
  json::object body;
  if (!WriteTerms(options, body)) return kExitFailed;
  if (body.empty()) {
    PrintError("there is nothing to change; weir accounts update --help lists what can be");
    return kExitUsage;
  }
  return PrintAccount(options, Ask(options, "PATCH", Target(options), json::serialize(body)));
}

int Delete(const Options& options) {
  const auto gone = Ask(options, "DELETE", Target(options));
  if (!gone) return kExitFailed;
  if (options.json) {
    std::printf("%s\n", json::serialize(*gone).c_str());
  } else {
    std::printf("%s is deleted\n", Text(*gone, "id").c_str());
  }
  return kExitDone;
}

// cool, clear, drain, undrain.
int Act(const Options& options, const char* verb) {
  json::object body;
  if (std::string_view(verb) == "cool") body["seconds"] = options.seconds;
  return PrintAccount(options,
                      Ask(options, "POST", Target(options) + "/" + verb, json::serialize(body)));
}

// Works on the file, because it is the one thing a running gateway cannot be asked: it may not
// start with the key it is given now.
int Reseal(const Options& options) {
  const auto failed = [](const Error& error) {
    PrintError(error.detail);
    return kExitFailed;
  };
  auto old_key = store::ReadMasterKeyFile(options.old_key_file);
  if (!old_key) return failed(old_key.error());
  std::optional<Secret> given;
  if (const auto text = EnvironmentVariable("WEIR_MASTER_KEY"); text && !text->empty()) {
    given = Secret(*text);
  }
  auto new_key = store::MasterKeySource(options.data_dir, std::move(given)).LoadOrCreate();
  if (!new_key) return failed(new_key.error());
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  const auto resealed = store::AccountStore::Reseal(
      options.data_dir + "/accounts.db", {.from = std::move(*old_key), .to = std::move(*new_key)},
      {.at = {static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec},
       .actor = "cli",
       .action = "reseal",
       .detail = {}});
  if (!resealed) return failed(resealed.error());
  if (options.json) {
    std::printf("%s\n", json::serialize(json::object{{"resealed", *resealed}}).c_str());
  } else {
    std::printf("resealed %lld credentials; the old key is not needed any more\n",
                static_cast<long long>(*resealed));
  }
  return kExitDone;
}

void AddTerms(CLI::App& command, Options& options) {
  auto* env = command.add_option("--key-env", options.key_env,
                                 "Environment variable that holds its credential");
  env->type_name("NAME");
  auto* in = command.add_flag("--key-stdin", options.key_stdin,
                              "Read its credential from standard input, one line");
  auto* none = command.add_flag("--no-key", options.no_key, "It sends no credential");
  env->excludes(in)->excludes(none);
  in->excludes(none);
  command.add_option("--model", options.models, "A model it serves, or all (default: all)")
      ->type_name("MODEL");
  command
      .add_option("--capability", options.capabilities, "What it can be asked for (default: all)")
      ->type_name("NAME");
  command
      .add_option("--reserved-for", options.reserved_for,
                  "A key that alone uses it, or nobody (default: shared)")
      ->type_name("KEY");
  const auto count = [&](const char* name, std::int64_t& value, const char* help) {
    command.add_option(name, value, help)->check(CLI::NonNegativeNumber);
  };
  count("--weight", options.weight, "1 to 1000: its share beside accounts of its priority");
  count("--priority", options.priority, "Lower ones first");
  count("--concurrency", options.concurrency, "Calls at once; 0 is no limit");
  count("--requests-per-minute", options.requests_per_minute, "0 is no limit");
  count("--tokens-per-minute", options.tokens_per_minute, "0 is no limit");
  command.add_option("--expires-at", options.expires_at, "Such as 2027-01-31T12:00:00Z, or none")
      ->type_name("TIME");
  command.add_option("--profile", options.profile, "What its backend takes")
      ->check(CLI::IsMember({"openai_api", "responses_strict"}));
  command.add_option("--proxy", options.proxy, "Such as http://127.0.0.1:3128, or none")
      ->type_name("URL");
}

}  // namespace

void AddAccounts(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* accounts =
      app.add_subcommand("accounts", "Make, list and steer the credentials at upstreams");
  accounts->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, bool with_id) {
    CLI::App* command = accounts->add_subcommand(name, help);
    if (with_id) {
      command->add_option("account", options->account, "Its id, UPSTREAM/NAME")
          ->type_name("ACCOUNT")
          ->required();
    }
    AddConnection(*command, *options);
    return command;
  };

  CLI::App* list = add("list", "List accounts and how they fare", false);
  list->add_option("--source", options->source, "Only those of the file, or made at run time")
      ->check(CLI::IsMember({"file", "api"}));
  list->add_option("--upstream", options->upstream, "Only those of this upstream")
      ->type_name("NAME");
  list->add_option("--limit", options->limit, "Accounts on a page")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  list->add_option("--cursor", options->cursor, "Where the page before ended")->type_name("CURSOR");
  list->callback([options, &exit_code] { exit_code = List(*options); });

  CLI::App* create = add("create", "Make an account, at once in use", false);
  create->add_option("--upstream", options->upstream, "An upstream of the configuration")
      ->type_name("NAME")
      ->required();
  create->add_option("--name", options->name, "Unique at its upstream")
      ->type_name("NAME")
      ->required();
  AddTerms(*create, *options);
  create->callback([options, &exit_code] { exit_code = Create(*options); });

  CLI::App* update = add("update", "Change an account; of one in the file only on or off", true);
  AddTerms(*update, *options);
  auto* on = update->add_flag("--enable", options->enable, "Switch it on");
  update->add_flag("--disable", options->disable, "Switch it off")->excludes(on);
  update->callback([options, &exit_code] { exit_code = Update(*options); });

  CLI::App* remove = add("delete", "Delete an account that was made at run time", true);
  remove->callback([options, &exit_code] { exit_code = Delete(*options); });

  CLI::App* cool = add("cool", "Let an account rest", true);
  cool->add_option("--seconds", options->seconds, "How long")
      ->check(CLI::Range(1, 2592000))
      ->capture_default_str();
  cool->callback([options, &exit_code] { exit_code = Act(*options, "cool"); });
  add("clear", "End an account's rest", true)->callback([options, &exit_code] {
    exit_code = Act(*options, "clear");
  });
  add("drain", "Give an account no new call", true)->callback([options, &exit_code] {
    exit_code = Act(*options, "drain");
  });
  add("undrain", "Give an account calls again", true)->callback([options, &exit_code] {
    exit_code = Act(*options, "undrain");
  });

  CLI::App* reseal = accounts->add_subcommand(
      "reseal",
      "Seal the stored credentials under another master key; the gateway must be stopped");
  reseal
      ->add_option("--old-key-file", options->old_key_file,
                   "File with the key they are sealed with now; the new one is WEIR_MASTER_KEY or "
                   "the data directory's, which is made if there is none")
      ->type_name("FILE")
      ->required();
  reseal->add_option("--data-dir", options->data_dir, "Data directory of weir serve")
      ->envname("WEIR_DATA_DIR")
      ->type_name("DIR")
      ->capture_default_str();
  reseal->add_flag("--json", options->json, "Print how many as JSON");
  reseal->callback([options, &exit_code] { exit_code = Reseal(*options); });
}

}  // namespace weir::cli
