// What one call used, in the units a provider bills.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir {

// Where a usage figure comes from. Frozen: the values are on disk.
enum class UsageSource : std::uint8_t {
  kNone = 0,        // nothing was used (never dispatched, or refused upstream)
  kProvider = 1,    // the upstream said so
  kEstimated = 2,   // the upstream finished without saying; our own count
  kCheckpoint = 3,  // the call was cut; our own count of what was delivered
};

constexpr std::string_view Name(UsageSource source) {
  switch (source) {
    case UsageSource::kNone:
      return "none";
    case UsageSource::kProvider:
      return "provider";
    case UsageSource::kEstimated:
      return "estimated";
    case UsageSource::kCheckpoint:
      return "checkpoint";
  }
  return "none";
}

// The images of a call are of a kind its price does not name: the dearest it does.
inline constexpr std::uint32_t kDearestImage = UINT32_MAX;

// What one call used. Totals in OpenAI's sense: cached, cache-write and audio tokens are inside
// input_tokens, reasoning and audio tokens inside output_tokens. All >= 0.
struct Usage {
  std::int64_t input_tokens = 0;
  std::int64_t cached_input_tokens = 0;
  std::int64_t cache_write_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t reasoning_tokens = 0;
  UsageSource source = UsageSource::kNone;
  // Transcriptions: how long the audio is, besides its tokens. Milliseconds, because providers tell
  // seconds with decimals; what is finer is rounded up.
  std::int64_t audio_ms = 0;
  std::int64_t cache_write_1h_tokens = 0;  // inside cache_write_tokens
  std::int64_t input_audio_tokens = 0;
  std::int64_t output_audio_tokens = 0;
  std::int64_t tool_calls = 0;  // searches and the like that the provider bills one by one
  std::int64_t images = 0;      // made, all of one kind
  std::int64_t video_ms = 0;    // of video made
  std::uint32_t image_kind = kDearestImage;  // of the price's images, by its place in the list

  friend bool operator==(const Usage&, const Usage&) = default;
};

}  // namespace weir
