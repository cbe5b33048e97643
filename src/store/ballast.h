// A file whose only purpose is to be deleted: when the disk is full, its blocks are what open
// requests are still settled with, while new ones are refused. One thread at a time.
//
//   held --Release--> released --Restore (when there is space again)--> held
#pragma once

#include <cstdint>
#include <string>

namespace weir::store {

class Ballast {
 public:
  // `bytes` 0: there is none, and nothing is ever made.
  Ballast(std::string path, std::int64_t bytes) : path_(std::move(path)), bytes_(bytes) {}

  // Makes the file with all its blocks, if it is not there already. False when there is no space
  // for it and as much again: a ballast that fills the disk would cause what it is for.
  bool Restore();

  // Gives the blocks back; false when there were none.
  bool Release();

  std::int64_t bytes() const { return bytes_; }

 private:
  std::string path_;
  std::int64_t bytes_;
};

}  // namespace weir::store
