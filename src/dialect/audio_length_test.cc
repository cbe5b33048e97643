// Files made here by hand, of each container: what they say, what they hide, and what is no file.
#include "dialect/audio_length.h"

#include <gtest/gtest.h>

#include <string>

#include "base/random.h"

namespace weir::dialect {
namespace {

std::string Little(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}
std::string Big(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = bytes; i-- > 0;) text += static_cast<char>(value >> (8 * i));
  return text;
}
std::string Zeros(std::size_t count) { return std::string(count, '\0'); }

struct Wav {
  std::uint64_t rate = 16'000;
  std::uint64_t said_bytes = 32'000;  // a second
  std::uint64_t data_said = 32'000;
  std::size_t data = 32'000;
  std::uint64_t format = 1;
};
std::string Make(const Wav& wav) {
  return "RIFF" + Little(36 + wav.data, 4) + "WAVE" + "LIST" + Little(3, 4) + "abc\0" +
         std::string(1, '\0') + "fmt " + Little(16, 4) + Little(wav.format, 2) + Little(1, 2) +
         Little(wav.rate, 4) + Little(wav.said_bytes, 4) + Little(2, 2) + Little(16, 2) + "data" +
         Little(wav.data_said, 4) + Zeros(wav.data);
}

// MPEG 2 layer III, 8 kbit/s at 16 kHz: 36 bytes and 36 ms.
std::string Mp3Frame() { return "\xFF\xF3\x18\xC4" + Zeros(32); }
std::string Mp3(int frames) {
  std::string file = "ID3" + Zeros(6) + "\x05" + "hello";
  for (int i = 0; i < frames; ++i) file += Mp3Frame();
  return file;
}

std::string Flac(std::uint64_t samples, std::size_t bytes) {
  const std::uint64_t packed = 16'000ULL << 44 | 0ULL << 41 | 15ULL << 36 | samples;
  return "fLaC" + Big(0x80000022, 4) + Zeros(10) + Big(packed, 8) + Zeros(16) + Zeros(bytes);
}

std::string Page(int flags, std::uint64_t granule, std::uint64_t serial,
                 const std::string& packet) {
  return "OggS" + Zeros(1) + static_cast<char>(flags) + Little(granule, 8) + Little(serial, 4) +
         Zeros(8) + "\x01" + static_cast<char>(packet.size()) + packet;
}
std::string Opus(std::uint64_t seconds, std::uint64_t serial = 7) {
  return Page(2, 0, serial, "OpusHead\x01\x01" + Little(312, 2) + Zeros(7)) +
         Page(0, 0, serial, "OpusTags") +
         Page(4, seconds * 48'000 + 312, serial, std::string(200, 'x'));
}

std::string Box(const std::string& kind, const std::string& body) {
  return Big(8 + body.size(), 4) + kind + body;
}
std::string Mp4(std::uint64_t movie_ms, std::uint64_t track_seconds, std::size_t data = 400) {
  return Box("ftyp", "M4A " + Zeros(4)) + Box("mdat", Zeros(data)) +
         Box("moov",
             Box("mvhd", Zeros(12) + Big(1000, 4) + Big(movie_ms, 4) + Zeros(80)) +
                 Box("trak", Box("mdia", Box("mdhd", "\x01" + Zeros(3) + Zeros(16) + Big(8'000, 4) +
                                                         Big(track_seconds * 8'000, 8)))));
}

std::string Element(const std::string& id, const std::string& body) {
  return id + static_cast<char>(0x80 | body.size()) + body;
}
std::string Webm(const std::string& duration) {
  return Element("\x1A\x45\xDF\xA3", Element("\x42\x82", "webm")) +
         "\x18\x53\x80\x67\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF" +
         Element("\x15\x49\xA9\x66", Element("\x2A\xD7\xB1", Big(1'000'000, 3)) + duration) +
         Element("\x1F\x43\xB6\x75", Zeros(64));
}

struct Row {
  const char* why;
  std::string file;
  AudioLength length;
};

TEST(AudioLength, OfEachContainer) {
  const Row rows[] = {
      {"a second of WAV", Make(Wav{}), {true, 1000, 2000}},
      {"a millisecond more is held as a second more",
       Make(Wav{.data_said = 32'032, .data = 32'032}),
       {true, 1001, 3000}},
      {"WAV that streams says no size", Make(Wav{.data_said = 0xFFFFFFFF}), {true, 1000, 2000}},
      {"WAV that says less than it has is held for what it has",
       Make(Wav{.data_said = 3'200}),
       {true, 100, 2000}},
      {"WAV that says it has more", Make(Wav{.data_said = 64'000}), {true, 1000, 2000}},
      {"WAV whose bytes a second do not fit its samples is held for the longer",
       Make(Wav{.said_bytes = 3'200}),
       {true, 1000, 11'000}},
      {"WAV without a rate", Make(Wav{.rate = 0}), {false, 8'014, 34'000}},
      {"WAV that is compressed", Make(Wav{.format = 0x11}), {false, 8'014, 34'000}},
      {"MP3 by its frames", Mp3(100), {true, 3601, 5000}},
      {"MP3 with an old tag behind", Mp3(100) + "TAG" + Zeros(125), {true, 3601, 5000}},
      {"MP3 with bytes between, which may be sound",
       Mp3(50) + Zeros(2'000) + Mp3(50).substr(15),
       {true, 3565, 7000}},
      {"FLAC", Flac(80'000, 20'000), {true, 5000, 6000}},
      {"FLAC that does not say", Flac(0, 20'000), {false, 5010, 22'000}},
      {"FLAC of more bytes than samples", Flac(16, 2'000'000), {false, 500'010, 2'002'000}},
      {"Opus", Opus(5), {true, 5000, 6000}},
      {"one Ogg behind another", Opus(5) + Opus(3), {true, 8000, 9000}},
      {"Ogg with something behind it", Opus(5) + "x", {false, 78, 2000}},
      {"M4A by its movie", Mp4(2'500, 1), {true, 2500, 4000}},
      {"M4A by its longest track", Mp4(2'500, 3), {true, 3000, 4000}},
      {"M4A that says nearly nothing for its bytes", Mp4(1, 0, 64'000), {false, 1003, 66'000}},
      {"a fragmented one",
       Box("ftyp", "iso5") + Box("moov", Box("mvex", "")) + Box("moof", ""),
       {false, 9, 2000}},
      {"WebM, duration of 8 bytes",
       Webm(Element("\x44\x89", Big(0x40A3880000000000, 8))),
       {true, 2500, 4000}},
      {"WebM, duration of 4 bytes",
       Webm(Element("\x44\x89", Big(0x451C4000, 4))),
       {true, 2500, 4000}},
      {"WebM as browsers record it", Webm(""), {false, 26, 2000}},
      {"WebM of endless length",
       Webm(Element("\x44\x89", Big(0x7FF0000000000000, 8))),
       {false, 29, 2000}},
      {"no audio at all", std::string(4'000, 'x'), {false, 1000, 5000}},
      {"nothing", "", {false, 0, 1000}},
  };
  for (const Row& row : rows) {
    const AudioLength is = LengthOfAudio(row.file);
    EXPECT_EQ(is.known, row.length.known) << row.why;
    EXPECT_EQ(is.ms, row.length.ms) << row.why;
    EXPECT_EQ(is.ms_max, row.length.ms_max) << row.why;
  }
}

// Cut or damaged anywhere, a file is never held for less than the rule without headers says, unless
// its headers are believed, and never makes the reader leave its bytes (the sanitizers watch).
TEST(AudioLength, DamagedFiles_AreBounded) {
  SeededRandom random(11);
  for (const std::string& file :
       {Make(Wav{.data_said = 640, .data = 640}), Mp3(20), Flac(80'000, 400), Opus(5),
        Mp4(2'500, 3), Webm(Element("\x44\x89", Big(0x40A3880000000000, 8)))}) {
    for (int round = 0; round < 3'000; ++round) {
      std::string copy = file;
      for (std::uint64_t i = random.Next() % 5; i > 0; --i) {
        copy[random.Next() % std::min<std::size_t>(copy.size(), 200)] =
            static_cast<char>(random.Next());
      }
      copy.resize(random.Next() % (copy.size() + 1));
      const AudioLength length = LengthOfAudio(copy);
      ASSERT_GE(length.ms, 0);
      ASSERT_GE(length.ms_max, length.ms);
      ASSERT_LE(length.ms_max, kAudioMsMax);
      if (!length.known) {
        ASSERT_GE(length.ms_max, static_cast<std::int64_t>(copy.size()));
      }
    }
  }
}

}  // namespace
}  // namespace weir::dialect
