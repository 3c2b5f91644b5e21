import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["__test__/**/*.test.ts"],
    pool: "forks",
    // One file at a time: browsers and encoders share the cores, and timing is what is tested.
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // The second is what .ci/run counts.
    reporters: process.env.CI
      ? ["default", ["json", { outputFile: ".cache/vitest.json" }]]
      : ["default"],
  },
});
