// swift-tools-version: 6.2
// SPDX-License-Identifier: LGPL-3.0-only

import PackageDescription

let package = Package(
  name: "fuzz",
  dependencies: [
    .package(name: "flux-delegate", path: ".."), .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
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
      swiftSettings: [
        .swiftLanguageMode(.v6),
        .unsafeFlags(["-sanitize=fuzzer,address", "-parse-as-library"]),
      ],
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]),
  ]
)
