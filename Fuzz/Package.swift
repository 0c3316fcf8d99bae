// swift-tools-version: 6.2
// SPDX-License-Identifier: LGPL-3.0-only

import PackageDescription

/// libFuzzer and the address sanitizer in what is fuzzed, and in the executable.
let swiftSettings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .unsafeFlags(["-sanitize=fuzzer,address", "-parse-as-library"]),
]
let linkerSettings: [LinkerSetting] = [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]

let package = Package(
  name: "fuzz",
  dependencies: [
    .package(name: "flux-delegate", path: ".."), .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
  ],
  targets: [
    .target(name: "CFuzzMain"),
    .executableTarget(
      name: "FuzzDecoders",
      dependencies: [
        "CFuzzMain",
        .product(name: "FluxWire", package: "flux-delegate"), .product(name: "FluxJob", package: "flux-delegate"),
        .product(name: "NIOCore", package: "swift-nio"),
      ],
      swiftSettings: swiftSettings, linkerSettings: linkerSettings),
    .executableTarget(
      name: "FuzzHandlers",
      dependencies: [
        "CFuzzMain",
        .product(name: "EmbeddedFlux", package: "flux-delegate"),
        .product(name: "FluxWire", package: "flux-delegate"), .product(name: "FluxJob", package: "flux-delegate"),
        .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOEmbedded", package: "swift-nio"),
        .product(name: "Logging", package: "swift-log"),
      ],
      swiftSettings: swiftSettings, linkerSettings: linkerSettings),
  ]
)
