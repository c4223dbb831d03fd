/** Version of this compiler; plans and files carry it. That of package.json (a test). */
export const version = "0.1.0";
