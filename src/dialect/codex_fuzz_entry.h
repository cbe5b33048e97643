// The bodies of the fuzz targets of Codex adaptation and stream aggregation, shared with
// codex_corpus_test.cc. Each checks properties that hold for every input; a broken one ends the
// process. Not part of the library.
#pragma once

#include <simdjson.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "dialect/codex_adapt.h"
#include "dialect/json_view.h"
#include "dialect/sse.h"
#include "dialect/stream_aggregate.h"
#include "dialect/unsupported_parameter.h"

namespace weir::dialect::fuzz {

// A complete reader of another hand. It also refuses numbers beyond its types and halves of
// surrogate pairs, both of which RFC 8259 allows.
inline bool OtherReaderTakes(std::string_view text, bool& unsure) {
  simdjson::dom::parser parser;
  const auto error = parser.parse(text.data(), text.size(), true).error();
  unsure = error == simdjson::NUMBER_ERROR || error == simdjson::STRING_ERROR;
  if (text.starts_with("\xEF\xBB\xBF")) return false;  // it skips a byte order mark, we do not
  return error == simdjson::SUCCESS;
}

// Byte 0 chooses profile and endpoint; the rest is the body.
inline void CodexAdaptEntry(std::string_view input) {
  if (input.empty()) return;
  const auto profile =
      (input[0] & 1) != 0 ? AdaptProfile::kOpenAiApi : AdaptProfile::kResponsesStrict;
  const auto endpoint =
      (input[0] & 2) != 0 ? AdaptEndpoint::kResponsesCompact : AdaptEndpoint::kResponses;
  const std::string_view body = input.substr(1);
  bool unsure = false;
  const bool json = OtherReaderTakes(body, unsure);
  const auto checked = CheckJson(body);
  CHECK(!checked || json || unsure, "what was taken is JSON");
  CHECK(checked || !json || checked.error().message.contains("nested deeper"),
        "what is JSON was taken");
  const auto adapted = AdaptForCodex(body, profile, endpoint);
  CHECK(checked || !adapted, "what is not JSON is not adapted");
  if (!adapted) return;
  CHECK(CheckJson(adapted->text).has_value(), "what leaves is JSON");
  CHECK(!adapted->changes.empty() || adapted->text == body, "no change, no other byte");
  const auto again = AdaptForCodex(adapted->text, profile, endpoint);
  // A body just below the bound on members may pass it with those that were added.
  if (again) {
    CHECK(again->text == adapted->text && again->changes.empty(), "adapting twice changes nothing");
  } else {
    CHECK(again.error().message.contains("has more than"), "what was adapted can be adapted");
  }
  for (const auto& change : adapted->changes) {
    CHECK(std::ranges::all_of(change, [](char c) { return c > ' ' && c < 0x7F && c != ','; }),
          "changes can stand in a header");
  }
}

// The input is an error body, and then also a request that loses what it names.
inline void UnsupportedParameterEntry(std::string_view input) {
  const auto name = UnsupportedParameter(input);
  if (name) {
    CHECK(!name->empty() && name->size() <= kParameterBytesMax, "names are bounded");
  }
  const auto dropped = DropMember(input, name ? std::string_view(*name) : "detail");
  if (!dropped) return;
  CHECK(dropped->size() < input.size(), "something was taken out");
  CHECK(CheckJson(*dropped).has_value(), "what stays is JSON");
}

// Byte 0 chooses the dialect, byte 1 the bound; the rest is the stream.
inline void StreamAggregateEntry(std::string_view input) {
  if (input.size() < 2) return;
  const Dialect dialect = (input[0] & 1) != 0 ? Dialect::kOpenAiChat : Dialect::kOpenAiResponses;
  const std::size_t bytes_max = 1024 * (1 + static_cast<std::uint8_t>(input[1]));
  StreamAggregate aggregate(
      dialect, {.bytes_max = bytes_max, .model = (input[0] & 2) != 0 ? "a model" : ""});
  SseSplitter splitter;
  splitter.Append(input.substr(2));
  SseEvent event;
  while (splitter.Next(event) == SseStatus::kEvent && aggregate.Add(event)) {
    CHECK(aggregate.held_bytes() <= bytes_max, "memory is bounded");
  }
  const auto reply = aggregate.Finish();
  if (reply) CHECK(CheckJson(*reply).has_value(), "the reply is JSON");
}

}  // namespace weir::dialect::fuzz
