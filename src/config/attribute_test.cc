#include "config/attribute.h"

#include <gtest/gtest.h>

namespace weir::config {
namespace {

TEST(Attribute, EveryDimension_IsFoundByItsName) {
  for (std::size_t i = 0; i < kDimensions; ++i) {
    EXPECT_EQ(DimensionOf(kDimensionNames[i]), static_cast<Dimension>(i));
  }
  for (const std::string_view name : {"", "Team", "team ", "tea", "teams", "workspace_"}) {
    EXPECT_FALSE(DimensionOf(name)) << name;
  }
}

TEST(Attribute, OnlyWhatARequestCanSayOfItself_IsAnAttribute) {
  EXPECT_EQ(DimensionNames(kAttributeBits),
            (std::vector<std::string>{"team", "user", "customer", "customer_tier", "workflow",
                                      "feature", "environment", "campaign", "image_class"}));
  EXPECT_TRUE(DimensionNames(0).empty());
  EXPECT_EQ(DimensionNames((1U << kDimensions) - 1).size(), kDimensions);
}

TEST(Attribute, Values_AreShortPrintableAndTrimmed) {
  struct Case {
    std::string value;
    std::string_view fault;
  };
  for (const auto& [value, fault] : std::initializer_list<Case>{
           {"x", ""},
           {"two words", ""},
           {"~", ""},
           {"a=b,c", ""},
           {std::string(128, 'x'), ""},
           {"", "must not be empty"},
           {std::string(129, 'x'), "must have at most 128 bytes"},
           {"a\tb", "must consist of printable ASCII"},
           {"a\nb", "must consist of printable ASCII"},
           {std::string("a\0b", 3), "must consist of printable ASCII"},
           {"\x7f", "must consist of printable ASCII"},
           {"caf\xc3\xa9", "must consist of printable ASCII"},
           {" a", "must not begin or end with a blank"},
           {"a ", "must not begin or end with a blank"},
       }) {
    EXPECT_EQ(AttributeFault(value), fault) << value;
  }
}

TEST(Attribute, Set_KeepsThemSortedAndEachOnce) {
  std::vector<Attribute> attributes;
  SetAttribute(attributes, Dimension::kWorkflow, "w");
  SetAttribute(attributes, Dimension::kTeam, "t");
  SetAttribute(attributes, Dimension::kUser, "u");
  SetAttribute(attributes, Dimension::kUser, "v");
  EXPECT_EQ(attributes,
            (std::vector<Attribute>{
                {Dimension::kTeam, "t"}, {Dimension::kUser, "v"}, {Dimension::kWorkflow, "w"}}));
  EXPECT_EQ(AttributeOf(attributes, Dimension::kUser), "v");
  EXPECT_EQ(AttributeOf(attributes, Dimension::kCampaign), "");
  EXPECT_EQ(AttributeOf({}, Dimension::kUser), "");
}

}  // namespace
}  // namespace weir::config
