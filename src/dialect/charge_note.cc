#include "dialect/charge_note.h"

#include <array>
#include <optional>
#include <span>

#include "dialect/json_view.h"

namespace weir::dialect {
namespace {

constexpr std::string_view kData = "data:";
constexpr std::string_view kDone = "[DONE]";

std::string_view UsageName(Dialect dialect) {
  return dialect == Dialect::kGeminiGenerate ? "usageMetadata" : "usage";
}

// The member of that name; none when it is absent or there twice.
std::optional<JsonMember> Find(std::string_view object, std::string_view name) {
  const std::array names = {name};
  std::array<JsonMember, 1> found{};
  if (!FindMembers(object, names, found) || found[0].whole.empty()) return std::nullopt;
  return found[0];
}

void AppendNumber(std::string& out, std::string_view name, std::int64_t value) {
  out += '"';
  out += name;
  out += "\":";
  out += std::to_string(value);
}

// The members of the note, without a comma behind the last. `usage` is what they go into.
std::string Members(std::string_view usage, const ChargeNote& note) {
  std::string out;
  const bool has_input = !usage.empty() && Find(usage, "input_tokens");
  const bool has_output = !usage.empty() && Find(usage, "output_tokens");
  if (!has_input) {
    AppendNumber(out, "input_tokens", note.input_tokens);
    out += ',';
  }
  if (!has_output) {
    AppendNumber(out, "output_tokens", note.output_tokens);
    out += ',';
  }
  out += "\"route_multiplier\":\"";
  out += note.multiplier;
  out += "\",";
  AppendNumber(out, note.charged_as, note.charged);
  return out;
}

std::size_t OffsetIn(std::string_view text, std::string_view part) {
  return static_cast<std::size_t>(part.data() - text.data());
}

// `text` with `inserted` behind the brace that opens `object`, a part of it.
std::string InsertInto(std::string_view text, std::string_view object, std::string_view inserted) {
  const std::size_t brace = OffsetIn(text, object) + 1;
  std::string_view rest = object.substr(1);
  while (!rest.empty() &&
         (rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\n' || rest[0] == '\r')) {
    rest.remove_prefix(1);
  }
  std::string out;
  out.reserve(text.size() + inserted.size() + 1);
  out += text.substr(0, brace);
  out += inserted;
  if (!rest.starts_with('}')) out += ',';
  out += text.substr(brace);
  return out;
}

// `text` with the note in the usage of `object`, a JSON object in it. With `make`, an object
// without usage gets one.
std::optional<std::string> Noted(Dialect dialect, std::string_view text, std::string_view object,
                                 const ChargeNote& note, bool make) {
  const std::string_view name = UsageName(dialect);
  const auto usage = Find(object, name);
  if (usage && KindOf(usage->value) == JsonKind::kObject) {
    return InsertInto(text, usage->value, Members(usage->value, note));
  }
  if (!make) return std::nullopt;
  const std::string whole = "{" + Members({}, note) + "}";
  if (usage) {  // null, or nonsense
    std::string out(text.substr(0, OffsetIn(text, usage->value)));
    out += whole;
    out += text.substr(OffsetIn(text, usage->value) + usage->value.size());
    return out;
  }
  return InsertInto(text, object, "\"" + std::string(name) + "\":" + whole);
}

bool IsObject(std::string_view text) {
  return CheckJson(text).has_value() && KindOf(TrimJson(text)) == JsonKind::kObject;
}

// The JSON of an event's data when it is one line, as all providers send it.
std::string_view DataOf(std::string_view event) {
  std::string_view data;
  while (!event.empty()) {
    const std::size_t end = std::min(event.find('\n'), event.size() - 1);
    std::string_view line = event.substr(0, end + 1);
    event.remove_prefix(end + 1);
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
    if (!line.starts_with(kData)) continue;
    if (!data.empty()) return {};
    data = TrimJson(line.substr(kData.size()));
  }
  return data;
}

// What has the usage in an event of the family: the data itself, or the response in it.
std::string_view HolderOf(Dialect dialect, std::string_view data) {
  if (dialect != Dialect::kOpenAiResponses) return data;
  const auto response = Find(data, "response");
  return response && KindOf(response->value) == JsonKind::kObject ? response->value
                                                                  : std::string_view();
}

// The end of the event that begins at `at`, its blank line included.
std::size_t EventEnd(std::string_view events, std::size_t at) {
  for (std::size_t i = at; i < events.size(); ++i) {
    if (events[i] != '\n') continue;
    if (i + 1 < events.size() && events[i + 1] == '\n') return i + 2;
    if (i + 2 < events.size() && events[i + 1] == '\r' && events[i + 2] == '\n') return i + 3;
  }
  return events.size();
}

}  // namespace

std::string WithCharge(Dialect dialect, std::string_view body, const ChargeNote& note) {
  if (!IsObject(body)) return std::string(body);
  return Noted(dialect, body, TrimJson(body), note, true).value_or(std::string(body));
}

std::string WithChargeInStream(Dialect dialect, std::string_view events, const ChargeNote& note) {
  struct Event {
    std::size_t at = 0;
    std::size_t end = 0;
  };
  std::optional<Event> with_usage;
  std::optional<std::size_t> done;
  for (std::size_t at = 0; at < events.size();) {
    const std::size_t end = EventEnd(events, at);
    const std::string_view data = DataOf(events.substr(at, end - at));
    if (data == kDone) {
      done = at;
    } else if (IsObject(data)) {
      const std::string_view holder = HolderOf(dialect, data);
      if (!holder.empty() && Noted(dialect, data, holder, note, false)) with_usage = {at, end};
    }
    at = end;
  }
  if (with_usage) {
    const std::string_view event = events.substr(with_usage->at, with_usage->end - with_usage->at);
    const std::string_view data = DataOf(event);
    return Noted(dialect, events, HolderOf(dialect, data), note, false).value();
  }
  if (!done || dialect != Dialect::kOpenAiChat) return std::string(events);
  std::string out(events.substr(0, *done));
  out += "data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{";
  out += Members({}, note);
  out += "}}\n\n";
  out += events.substr(*done);
  return out;
}

}  // namespace weir::dialect
