// Changes to a JSON body without writing it again: a sorted list of replaced stretches, and the
// body then leaves as pieces of the original and of the replacements. What we do not touch stays
// byte for byte what the caller sent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "dialect/request_shape.h"

namespace weir::dialect {

// Replaces body[at, at + length) by `text`; length 0 inserts.
struct Edit {
  std::size_t at = 0;
  std::size_t length = 0;
  std::string text;
};

// The edited body, as views into the body and into the edits, both of which must outlive it.
struct PieceList {
  std::vector<std::string_view> pieces;  // none is empty
  std::size_t size = 0;                  // bytes in all
};

// Puts the edits in order (inserts at one place keep the order they were added in) and cuts the
// body. Edits that overlap or reach beyond the body are a bug of ours: nothing is guessed, the
// result is std::unexpected with a sentence for the log.
std::expected<PieceList, std::string> Pieces(std::string_view body, std::vector<Edit>& edits);

// The same as one text: for tests and for bodies that are small anyway.
std::expected<std::string, std::string> Apply(std::string_view body, std::vector<Edit> edits);

// Each helper appends what it needs to `edits`; each may be used once per list.
// Inserted members go right behind the opening brace, so several insertions keep working together.

// The model's name: a JSON string, or the plain value of a form's part. For a shape without a model
// (Gemini) nothing is added.
void EditModel(const RequestShape& shape, std::string_view model, std::vector<Edit>& edits);

// The output bound per choice: replaces every bound the caller set that is higher (or null), or
// inserts one: max_output_tokens, max_completion_tokens, max_tokens (Anthropic),
// generationConfig.maxOutputTokens; nothing for transcriptions, which have none. With
// `legacy_chat_key`, chat bodies without a bound get max_tokens, for upstreams that know only that.
// REQUIRES tokens >= 1.
void EditOutputBound(const RequestShape& shape, std::int64_t tokens, std::vector<Edit>& edits,
                     bool legacy_chat_key = false);

// Makes a streamed chat request ask for usage; nothing for other dialects, for requests that are
// not streamed and for those that ask already. True when something was added: then the reply must
// be read by a StreamMeter with strip_usage.
bool EditIncludeUsage(const RequestShape& shape, std::vector<Edit>& edits);

// Appends `text` as a JSON string with its quotes. The output is valid UTF-8 whatever the input:
// bytes that are not UTF-8 become U+FFFD.
void AppendJsonString(std::string& out, std::string_view text);

}  // namespace weir::dialect
