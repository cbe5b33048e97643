// `weir webhooks list|deliveries|test|retry|enable`: how the endpoints of the configuration fare,
// what was delivered to them and what was not, from a shell.

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "cli/admin_call.h"
#include "cli/cli.h"
#include "cli/commands.h"

namespace weir::cli {

namespace json = boost::json;

namespace {

// A delivery may take fifteen seconds; then it has failed.
constexpr std::chrono::seconds kTestPatience(20);
constexpr std::chrono::milliseconds kTestPace(100);

struct Options : Connection {
  std::string name;      // of an endpoint
  std::string delivery;  // its id
  std::string state;
  std::int64_t limit = 50;
  std::string cursor;
};

void PrintJson(const json::value& value) { std::printf("%s\n", json::serialize(value).c_str()); }

const json::array* Data(const json::value& page) {
  const auto* object = page.if_object();
  const auto* data = object == nullptr ? nullptr : object->if_contains("data");
  return data == nullptr ? nullptr : data->if_array();
}

std::string Joined(const json::value& endpoint) {
  const auto* events = endpoint.get_object().if_contains("events");
  if (events == nullptr || !events->is_array()) return "all";
  std::string text;
  for (const json::value& event : events->get_array()) {
    if (!text.empty()) text += ' ';
    if (event.is_string()) text += event.get_string();
  }
  return text;
}

// "204", or why nothing came.
std::string Outcome(const json::value& of) {
  const std::string error = Text(of, "last_error");
  return error == "-" ? Text(of, "last_status") : error;
}

int ListEndpoints(const Options& options) {
  const auto page = Ask(options, "GET", "/admin/v1/webhooks");
  if (!page) return kExitFailed;
  if (options.json) {
    PrintJson(*page);
    return kExitDone;
  }
  const auto* data = Data(*page);
  if (data == nullptr) return kExitFailed;
  if (data->empty()) {
    std::printf("no webhooks; name some in the configuration file, under webhooks\n");
    return kExitDone;
  }
  std::printf("%-20s  %-8s  %7s  %-27s  %-32s  %s\n", "NAME", "STATE", "PENDING", "LAST SUCCESS",
              "AT", "EVENTS");
  for (const json::value& endpoint : *data) {
    if (!endpoint.is_object()) continue;
    std::printf("%-20s  %-8s  %7s  %-27s  %-32s  %s\n", Text(endpoint, "name").c_str(),
                Text(endpoint, "state").c_str(), Text(endpoint, "pending").c_str(),
                Text(endpoint, "last_success_at").c_str(), Text(endpoint, "origin").c_str(),
                Joined(endpoint).c_str());
    if (Text(endpoint, "state") != "ok") {
      std::printf("%-20s  %s\n", "", Text(endpoint, "last_error").c_str());
    }
  }
  return kExitDone;
}

int ListDeliveries(const Options& options) {
  std::string target = "/admin/v1/webhooks/deliveries?limit=" + std::to_string(options.limit);
  if (!options.name.empty()) target += "&endpoint=" + options.name;
  if (!options.state.empty()) target += "&state=" + options.state;
  if (!options.cursor.empty()) target += "&cursor=" + options.cursor;
  const auto page = Ask(options, "GET", target);
  if (!page) return kExitFailed;
  if (options.json) {
    PrintJson(*page);
    return kExitDone;
  }
  const auto* data = Data(*page);
  if (data == nullptr) return kExitFailed;
  std::printf("%-12s  %-20s  %-18s  %-9s  %8s  %-27s  %-27s  %s\n", "ID", "ENDPOINT", "EVENT",
              "STATE", "ATTEMPTS", "LAST", "NEXT", "OUTCOME");
  for (const json::value& delivery : *data) {
    std::printf("%-12s  %-20s  %-18s  %-9s  %8s  %-27s  %-27s  %s\n", Text(delivery, "id").c_str(),
                Text(delivery, "endpoint").c_str(), Text(delivery, "event_type").c_str(),
                Text(delivery, "state").c_str(), Text(delivery, "attempts").c_str(),
                Text(delivery, "last_attempt_at").c_str(),
                Text(delivery, "next_attempt_at").c_str(), Outcome(delivery).c_str());
  }
  if (Text(*page, "next_cursor") != "-") {
    std::printf("more: --cursor %s\n", Text(*page, "next_cursor").c_str());
  }
  return kExitDone;
}

// The delivery once an attempt was made, or as it stands after a while; none: the API failed.
std::optional<json::value> AwaitAttempt(const Options& options, const json::value& begun) {
  const std::string id = Text(begun, "id");
  const std::string target =
      "/admin/v1/webhooks/deliveries?limit=1000&endpoint=" + Text(begun, "endpoint");
  const auto until = std::chrono::steady_clock::now() + kTestPatience;
  json::value latest = begun;
  while (true) {
    const auto page = Ask(options, "GET", target);
    if (!page) return std::nullopt;
    const auto* data = Data(*page);
    for (const json::value& delivery : data == nullptr ? json::array() : *data) {
      if (Text(delivery, "id") == id) latest = delivery;
    }
    if (Text(latest, "attempts") != "0" || Text(latest, "state") != "pending") return latest;
    if (std::chrono::steady_clock::now() >= until) return latest;
    std::this_thread::sleep_for(kTestPace);
  }
}

int Test(const Options& options) {
  const auto begun = Ask(options, "POST", "/admin/v1/webhooks/" + options.name + "/test");
  if (!begun) return kExitFailed;
  const auto delivery = AwaitAttempt(options, *begun);
  if (!delivery) return kExitFailed;
  const bool delivered = Text(*delivery, "state") == "delivered";
  if (options.json) {
    PrintJson(*delivery);
  } else if (delivered) {
    std::printf("%s took %s: status %s\n", options.name.c_str(), Text(*delivery, "id").c_str(),
                Text(*delivery, "last_status").c_str());
  }
  if (delivered) return kExitDone;
  PrintError(options.name + " did not take it: " + Outcome(*delivery) +
             "; `weir webhooks deliveries --endpoint " + options.name +
             "` shows what became of it");
  return kExitFailed;
}

int Retry(const Options& options) {
  const auto delivery =
      Ask(options, "POST", "/admin/v1/webhooks/deliveries/" + options.delivery + "/retry");
  if (!delivery) return kExitFailed;
  if (options.json) {
    PrintJson(*delivery);
  } else {
    std::printf("%s is sent to %s again\n", Text(*delivery, "id").c_str(),
                Text(*delivery, "endpoint").c_str());
  }
  return kExitDone;
}

int Enable(const Options& options) {
  const auto enabled = Ask(options, "POST", "/admin/v1/webhooks/" + options.name + "/enable");
  if (!enabled) return kExitFailed;
  if (options.json) {
    PrintJson(*enabled);
  } else {
    std::printf("%s is enabled; %s deliveries are pending again\n", options.name.c_str(),
                Text(*enabled, "pending_again").c_str());
  }
  return kExitDone;
}

// What goes into a path or a query as it is.
CLI::Validator Plain(std::string_view what) {
  return {[](std::string& text) {
            return !text.empty() &&
                           text.find_first_not_of(
                               "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                               "._-") == std::string::npos
                       ? std::string()
                       : std::string("letters, digits and . _ - only");
          },
          std::string(what)};
}

void AddName(CLI::App& command, Options& options) {
  command.add_option("name", options.name, "Of the webhook, as in the file")
      ->check(Plain("NAME"))
      ->required();
}

}  // namespace

void AddWebhooks(CLI::App& app, int& exit_code) {
  const auto options = std::make_shared<Options>();
  CLI::App* webhooks =
      app.add_subcommand("webhooks", "Show how events are told, test it and send one again");
  webhooks->require_subcommand(1);

  CLI::App* list = webhooks->add_subcommand("list", "List the endpoints and how they fare");
  AddConnection(*list, *options);
  list->callback([options, &exit_code] { exit_code = ListEndpoints(*options); });

  CLI::App* deliveries = webhooks->add_subcommand("deliveries", "List deliveries, newest first");
  deliveries->add_option("--endpoint", options->name, "Only those to this webhook")
      ->check(Plain("NAME"));
  deliveries->add_option("--state", options->state, "Only those in this state")
      ->check(CLI::IsMember({"pending", "delivered", "failed", "disabled"}));
  deliveries->add_option("--limit", options->limit, "Entries on a page")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  deliveries->add_option("--cursor", options->cursor, "Where the page before ended")
      ->check(Plain("CURSOR"));
  AddConnection(*deliveries, *options);
  deliveries->callback([options, &exit_code] { exit_code = ListDeliveries(*options); });

  CLI::App* test = webhooks->add_subcommand(
      "test", "Send a webhook.test event to one, and say whether it took it");
  AddName(*test, *options);
  AddConnection(*test, *options);
  test->callback([options, &exit_code] { exit_code = Test(*options); });

  CLI::App* retry = webhooks->add_subcommand("retry", "Send a delivery again, now");
  retry->add_option("delivery", options->delivery, "Its id, dlv_...")
      ->check(Plain("DELIVERY"))
      ->required();
  AddConnection(*retry, *options);
  retry->callback([options, &exit_code] { exit_code = Retry(*options); });

  CLI::App* enable =
      webhooks->add_subcommand("enable", "Take one back into service that answered 410 Gone");
  AddName(*enable, *options);
  AddConnection(*enable, *options);
  enable->callback([options, &exit_code] { exit_code = Enable(*options); });
}

}  // namespace weir::cli
