// Text as the sandbox needs it: cuts that keep UTF-8 whole, the token count, and the
// hash ids are made from. Input is valid UTF-8 (the JSON parser checked it) unless said otherwise.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weir::gateway {

// The longest prefix of at most `bytes_max` bytes that does not cut a character.
std::string_view Utf8Prefix(std::string_view text, std::size_t bytes_max);

// The next piece of a streamed text: up to and with the white space after a word, at least
// `bytes_min` bytes and at most 64 more, cut between characters. Never empty unless `text` is.
std::string_view NextPiece(std::string_view text, std::size_t bytes_min);

// Bytes / 4, rounded up.
constexpr std::int64_t TokensOfBytes(std::size_t bytes) {
  return static_cast<std::int64_t>(bytes / 4 + (bytes % 4 != 0 ? 1 : 0));
}

// Lower case for ASCII letters, everything else as it is.
std::string AsciiLower(std::string_view text);

std::string_view TrimSpace(std::string_view text);

// Mixes any bytes into `seed`. Fast and well spread, not proof against somebody who wants
// collisions: ids of a sandbox need not be.
std::uint64_t HashBytes(std::string_view bytes, std::uint64_t seed);

// Appends `digits` lower-case hex digits drawn from `seed`.
void AppendHex(std::string& out, std::uint64_t seed, std::size_t digits);

}  // namespace weir::gateway
