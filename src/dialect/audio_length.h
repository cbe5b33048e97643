// How long an audio file is, as far as its headers tell it without a decoder: what a transcription
// that is sold by the second can cost, and what one without usage is charged by.
//
// A file is the caller's word. Two rules keep it from being believed for less than it is:
//  - what a header says is not believed when the file's bytes at kBytesPerMsMax would last longer;
//  - without a believed header a byte may be a millisecond (8 kbit/s, the lowest rate any of these
//    formats is used at for speech).
// A file of nearly nothing but silence can still last longer than a lying header says. What that
// costs above the hold is the operator's and shows as overrun; it is never the customer's.
#pragma once

#include <cstdint>
#include <string_view>

namespace weir::dialect {

inline constexpr std::int64_t kMsPerByteMax = 1;       // 8 kbit/s
inline constexpr std::int64_t kBytesPerMsMax = 64;     // 512 kbit/s: no compressed audio has more
inline constexpr std::int64_t kTypicalBytesPerMs = 4;  // 32 kbit/s, as recorders make it
inline constexpr std::int64_t kAudioMsMax = std::int64_t{1} << 40;

struct AudioLength {
  bool known = false;       // its headers say so, and are believed
  std::int64_t ms = 0;      // what a decoder will find, or our guess
  std::int64_t ms_max = 0;  // what to hold for: to the next whole second, as providers count, and
                            // one more for the silence that encoders put before and behind

  friend bool operator==(const AudioLength&, const AudioLength&) = default;
};

// Of WAV, FLAC, MP3, Ogg (Opus, Vorbis, Speex, FLAC), MP4/M4A and WebM. Safe on any bytes, linear.
AudioLength LengthOfAudio(std::string_view file);

}  // namespace weir::dialect
